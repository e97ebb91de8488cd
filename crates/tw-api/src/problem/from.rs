//! Errors of other crates as problems.

use super::{Code, Problem};
use tw_types::{InvalidName, InvalidToken};
use tw_wire::cloudevents::{self, Place};

impl From<cloudevents::Error> for Problem {
    fn from(error: cloudevents::Error) -> Self {
        let code = match &error.problem {
            cloudevents::Problem::TooManyEvents { .. } => Code::TooManyEvents,
            _ => Code::InvalidEvent,
        };
        let attribute = error.problem.attribute().map(str::to_owned);
        Self::new(code, error.to_string()).with(|members| members.attribute = attribute).at(error.place)
    }
}

impl From<tw_log::Error> for Problem {
    fn from(error: tw_log::Error) -> Self {
        use tw_log::Error;
        let code = match &error {
            Error::NoStream(_) | Error::NoStreamId(_) => Code::NoStream,
            Error::NoPartition { .. } => Code::NoPartition,
            Error::StreamExists(_) => Code::AlreadyExists,
            Error::InvalidStream { .. } => Code::InvalidDefinition,
            Error::Trimmed { .. } => Code::EventsRemoved,
            Error::BeyondEnd { .. } => Code::BeyondEnd,
            Error::TooLarge { .. } | Error::Wire(tw_wire::Error::TooLarge { .. }) => Code::BodyTooLarge,
            Error::Busy | Error::Unavailable { .. } => Code::Busy,
            Error::DiskFull { .. } => Code::DiskFull,
            Error::Damaged { .. } => Code::Damaged,
            Error::Stopped(_) | Error::Fenced { .. } => Code::LogStopped,
            Error::Unknown(_) => Code::OutcomeUnknown,
            Error::Closed => Code::ShuttingDown,
            Error::WrongEnd { .. }
            | Error::Wire(_)
            | Error::Locked(_)
            | Error::OtherRegion { .. }
            | Error::InvalidOption { .. }
            | Error::InvalidText { .. }
            // Clients append nothing that comes from elsewhere.
            | Error::NotForeign { .. }
            | Error::Skewed { .. }
            | Error::NoRegions { .. }
            | Error::NoLog(_)
            | Error::Epochs { .. }
            | Error::Io { .. } => Code::Internal,
        };
        let first_offset = match &error {
            Error::Trimmed { start, .. } => Some(start.0),
            _ => None,
        };
        Self::new(code, error.to_string()).with(|members| members.first_offset = first_offset)
    }
}

impl From<tw_log::store::Error> for Problem {
    fn from(error: tw_log::store::Error) -> Self {
        use tw_log::store::Error;
        let code = match error {
            Error::Log(error) => return error.into(),
            Error::Conflict { subject, expected, actual, .. } => {
                return Self::version_conflict(&subject, actual, expected);
            }
            Error::KeyReused(_) => Code::IdempotencyKeyReused,
            Error::KeyGone(_) => Code::EventsRemoved,
            Error::InvalidEvent { .. } => Code::InvalidEvent,
            Error::EventTooLarge { bytes_max, .. } => {
                return Self::new(Code::EventTooLarge, error.to_string())
                    .with(|members| members.limit = Some(u64::from(bytes_max)));
            }
            Error::InvalidWrite(_) => Code::BodyTooLarge,
            Error::DamagedIndex(_) => Code::Damaged,
            Error::Held { .. } => Code::NotReady,
            Error::Index(_) | Error::InvalidOption { .. } | Error::Received { .. } | Error::Thread(_) => {
                Code::Internal
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<InvalidName> for Problem {
    fn from(error: InvalidName) -> Self {
        Self::parameter("stream", error.to_string())
    }
}

impl From<InvalidToken> for Problem {
    fn from(error: InvalidToken) -> Self {
        Self::parameter("Tradewind-Token", error.to_string())
    }
}

impl Problem {
    /// Says which event of several it is about.
    pub(crate) fn at(self, place: Place) -> Self {
        self.with(|members| match place {
            Place::Single => {}
            Place::Index(index) => members.index = Some(index),
            Place::Line(line) => members.line = Some(line),
        })
    }
}
