//! The stable codes of problems. Each has a section in docs/errors.md.

use http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:ident, $title:literal;)*) => {
        /// What kind of problem it is. Codes are stable: programs may decide by them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code, in the order of their status.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it is sent.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// A summary that is the same for every problem of this code.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// An event breaks a rule of CloudEvents, or one of ours.
    InvalidEvent = "invalid_event", BAD_REQUEST, "an event is not valid";
    /// The body is not what the endpoint takes.
    InvalidBody = "invalid_body", BAD_REQUEST, "the body is not valid";
    /// A parameter or a header is malformed, or contradicts another.
    InvalidParameter = "invalid_parameter", BAD_REQUEST, "a parameter or a header is not valid";
    /// A statement is wrong or not supported.
    InvalidStatement = "invalid_statement", BAD_REQUEST, "the statement is not accepted";
    /// A definition breaks a rule.
    InvalidDefinition = "invalid_definition", BAD_REQUEST, "the definition is not accepted";
    /// An option breaks a rule.
    InvalidOption = "invalid_option", BAD_REQUEST, "the option is not accepted";
    /// An event names another subject than the path.
    SubjectMismatch = "subject_mismatch", BAD_REQUEST, "the event is about another subject";
    /// A position beyond the end of its partition.
    BeyondEnd = "beyond_end", BAD_REQUEST, "the position is beyond the end";
    /// The request came by a name that is not this server's.
    ForeignHost = "foreign_host", FORBIDDEN, "the server is not called by this name";
    /// A web page of another origin wants to change something.
    ForeignOrigin = "foreign_origin", FORBIDDEN, "another origin may not change anything";
    /// The stream takes no events from outside.
    ReadOnlyStream = "read_only_stream", FORBIDDEN, "the stream takes no events from outside";
    /// Nothing is served under this path.
    NoRoute = "no_route", NOT_FOUND, "nothing is here";
    /// No such stream.
    NoStream = "no_stream", NOT_FOUND, "there is no such stream";
    /// No table that a statement names.
    NoTable = "no_table", NOT_FOUND, "there is no such table";
    /// No such partition.
    NoPartition = "no_partition", NOT_FOUND, "there is no such partition";
    /// No such source.
    NoSource = "no_source", NOT_FOUND, "there is no such source";
    /// No such projection.
    NoProjection = "no_projection", NOT_FOUND, "there is no such projection";
    /// No such node.
    NoNode = "no_node", NOT_FOUND, "there is no such node";
    /// No such region.
    NoRegion = "no_region", NOT_FOUND, "there is no such region";
    /// No such parked event.
    NoParkedEvent = "no_parked_event", NOT_FOUND, "there is no such parked event";
    /// No such option.
    NoOption = "no_option", NOT_FOUND, "there is no such option";
    /// No such version of an option.
    NoOptionVersion = "no_option_version", NOT_FOUND, "there is no such version of the option";
    /// No such consumer group.
    NoGroup = "no_group", NOT_FOUND, "there is no such consumer group";
    /// No such lock session.
    NoLockSession = "no_lock_session", NOT_FOUND, "there is no such lock session";
    /// The path exists, but not for this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "the method is not allowed here";
    /// No format that the client accepts.
    NotAcceptable = "not_acceptable", NOT_ACCEPTABLE, "no acceptable format";
    /// The body came too slowly.
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT, "the body did not arrive in time";
    /// A name that is taken.
    AlreadyExists = "already_exists", CONFLICT, "the name is taken";
    /// Something else needs it.
    InUse = "in_use", CONFLICT, "it is in use";
    /// It is not in a state in which this can be done.
    WrongState = "wrong_state", CONFLICT, "not possible in its present state";
    /// The session does not hold the lock.
    LockNotHeld = "lock_not_held", CONFLICT, "the session does not hold the lock";
    /// The session must release something before it may wait.
    Wounded = "wounded", CONFLICT, "an older session waits for what this one holds";
    /// A token of another region that no wait makes useful here.
    OtherRegion = "other_region", CONFLICT, "the token is of another region";
    /// A quantity of which this region may not take so much.
    NoRights = "no_rights", CONFLICT, "this region may not use so much";
    /// A value of a unique column that another row has.
    NotUnique = "not_unique", CONFLICT, "another row has the value";
    /// Another change of the routing plan came before this one.
    RoutingOvertaken = "routing_overtaken", CONFLICT, "the routing plan has another generation";
    /// A change of the routing plan by which load finds no room.
    NoRoom = "no_room", CONFLICT, "there is no room for the load";
    /// The option takes effect when a node starts.
    NotLive = "not_live", CONFLICT, "the option takes effect when a node starts";
    /// Retention or trim has removed the events.
    EventsRemoved = "events_removed", GONE, "the events have been removed";
    /// The subject has another version than expected.
    VersionConflict = "version_conflict", PRECONDITION_FAILED, "the subject has another version";
    /// The body is over the limit.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "the body is too large";
    /// An event is over its stream's limit.
    EventTooLarge = "event_too_large", PAYLOAD_TOO_LARGE, "an event is too large";
    /// More events than one request may append.
    TooManyEvents = "too_many_events", PAYLOAD_TOO_LARGE, "too many events at once";
    /// The body is of a type that the endpoint does not take.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "the content type is not supported";
    /// Another region takes the writes of the stream.
    NotHome = "not_home", MISDIRECTED_REQUEST, "the stream is written in another region";
    /// An event does not fit the declared columns of its stream.
    EventRefused = "event_refused", UNPROCESSABLE_ENTITY, "an event does not fit its stream";
    /// The key was used for another request.
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "the idempotency key belongs to another request";
    /// Somebody else holds the lock.
    Locked = "locked", LOCKED, "somebody else holds the lock";
    /// Enough readers are connected.
    TooManyReaders = "too_many_readers", TOO_MANY_REQUESTS, "too many readers";
    /// The headers are over the limit.
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large";
    /// Stored data is damaged.
    Damaged = "damaged", INTERNAL_SERVER_ERROR, "stored data is damaged";
    /// Something failed that is not the client's doing.
    Internal = "internal", INTERNAL_SERVER_ERROR, "something failed";
    /// Enough requests are under way.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "too many requests are under way";
    /// More comes than is worked on in time.
    OverCapacity = "over_capacity", SERVICE_UNAVAILABLE, "more requests come than are worked on in time";
    /// Enough writes are waiting.
    Busy = "busy", SERVICE_UNAVAILABLE, "too many writes are waiting";
    /// The home of a stream is on its way from one region to another.
    HomeMoving = "home_moving", SERVICE_UNAVAILABLE, "the home of the stream is moving";
    /// Nobody takes writes to a partition at the moment.
    NoOwner = "no_owner", SERVICE_UNAVAILABLE, "a partition has no owner";
    /// The log has stopped after a failed write.
    LogStopped = "log_stopped", SERVICE_UNAVAILABLE, "the log accepts no events";
    /// What the nodes agree on cannot be reached.
    CoordinationUnavailable = "coordination_unavailable", SERVICE_UNAVAILABLE, "coordination does not answer";
    /// What the brokers of Kafka are asked for does not come.
    KafkaUnavailable = "kafka_unavailable", SERVICE_UNAVAILABLE, "Kafka does not answer";
    /// The server ends.
    ShuttingDown = "shutting_down", SERVICE_UNAVAILABLE, "the server is shutting down";
    /// The node is not ready.
    NotReady = "not_ready", SERVICE_UNAVAILABLE, "the node is not ready";
    /// A wait was longer than allowed.
    Timeout = "timeout", GATEWAY_TIMEOUT, "it took too long";
    /// What a token demands of another region has not come in time.
    RegionBehind = "region_behind", GATEWAY_TIMEOUT, "a region is behind what the token demands";
    /// The write may or may not have happened.
    OutcomeUnknown = "outcome_unknown", GATEWAY_TIMEOUT, "it is unknown whether the events were stored";
    /// The disk is full.
    DiskFull = "disk_full", INSUFFICIENT_STORAGE, "there is no room for new events";
}

impl Code {
    /// The code that is sent as `code`; None for an unknown one.
    pub fn from_text(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.as_str() == code)
    }

    /// After how many seconds trying again makes sense by itself.
    pub const fn retry_after_s(self) -> Option<u32> {
        match self {
            Self::Overloaded
            | Self::OverCapacity
            | Self::Busy
            | Self::NoOwner
            | Self::HomeMoving
            | Self::CoordinationUnavailable
            | Self::KafkaUnavailable => Some(1),
            Self::TooManyReaders | Self::ShuttingDown | Self::NotReady => Some(5),
            Self::LogStopped | Self::DiskFull => Some(30),
            _ => None,
        }
    }
}
