//! Buckets of Amazon S3 and of whatever speaks its protocol, through the crate `object_store`.
//!
//! What that crate is to do is said here, and what comes back from it is put into words: which place, why, and what to do.

mod answers;
mod keys;

use crate::place::Bucket;
use crate::{Error, Options, Result};
use answers::{Trouble, Watched};
use keys::Source;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A request is tried again so often after a failure that may pass.
const RETRIES_MAX: usize = 3;
/// The region of a bucket if nobody says one: servers other than Amazon's mostly do not mind.
const REGION: &str = "us-east-1";

/// The store of a bucket. Nobody is asked yet. `environment` gives the value of a variable.
///
/// # Errors
/// [`Error::File`], [`Error::NoKeys`], [`Error::Engine`].
pub(crate) fn open(
    options: &Options,
    bucket: &Bucket,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<AmazonS3> {
    let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
    let said = Some(options.region.clone()).filter(|region| !region.is_empty());
    let region = said.or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&bucket.bucket)
        .with_region(region.unwrap_or_else(|| REGION.to_owned()))
        .with_virtual_hosted_style_request(!options.path_style)
        // One object is removed at a time, and not every server knows how to remove many.
        .with_disable_bulk_delete(true)
        .with_retry(retries(options.request_ms_max))
        .with_client_options(client(options)?)
        .with_http_connector(Watched);
    if let Some(endpoint) = &bucket.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder = match keys::source(options, variable)? {
        Source::Keys(keys) => {
            let keys = object_store::StaticCredentialProvider::new(keys);
            builder.with_credentials(Arc::new(keys))
        }
        Source::File(file) => builder.with_credentials(Arc::new(file)),
        Source::Role(settings) => {
            settings.into_iter().fold(builder, |builder, (key, value)| builder.with_config(key, value))
        }
    };
    builder.build().map_err(|source| Error::Engine { place: options.place.clone(), source: Arc::new(source) })
}

/// Attempts that find nobody all end before the request as a whole does (four connections of an eighth, three pauses of a
/// sixteenth at most), so that it can be told why they failed.
fn retries(request_ms_max: u64) -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100.min(request_ms_max / 16)),
        max_backoff: Duration::from_millis(request_ms_max / 16),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: Duration::from_millis(request_ms_max) }
}

fn client(options: &Options) -> Result<ClientOptions> {
    let request_ms_max = options.request_ms_max;
    let client = ClientOptions::new()
        .with_allow_http(options.allow_http)
        .with_connect_timeout(Duration::from_millis(request_ms_max / 8))
        // Half, so that there is a second attempt after one that was never answered.
        .with_timeout(Duration::from_millis(request_ms_max / 2));
    let certificates = authorities(&options.ca_file)?;
    Ok(certificates.into_iter().fold(client, ClientOptions::with_root_certificate))
}

/// The certificates in a file; none if none is named.
fn authorities(path: &Path) -> Result<Vec<Certificate>> {
    if path.as_os_str().is_empty() {
        return Ok(Vec::new());
    }
    let failed = |reason: String| Error::File { option: "ca_file", path: path.display().to_string(), reason };
    let pem = std::fs::read(path).map_err(|error| failed(format!("it does not read: {error}")))?;
    let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if certificates.is_empty() {
        return Err(failed("it holds no certificate in PEM".to_owned()));
    }
    Ok(certificates)
}

/// Whether it only says that an object is not there.
pub(crate) fn is_absence(error: &object_store::Error) -> bool {
    matches!(trouble(error), Some(Trouble::Answer(answer)) if answer.code == "NoSuchKey")
}

/// What an error of the crate means to whoever runs the node; None if it means nothing in particular.
pub(crate) fn explain(place: &str, error: &object_store::Error) -> Option<Error> {
    let place = place.to_owned();
    if let Some(reason) = found::<keys::Unusable>(error) {
        return Some(Error::NoKeys { place, reason: reason.to_string() });
    }
    Some(match trouble(error)? {
        trouble if trouble.is_about_keys() => {
            let reason = format!(
                "none are set, and where a role would give some, {trouble}: set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or \
                 name a file in `credentials_file`"
            );
            Error::NoKeys { place, reason }
        }
        Trouble::Answer(answer) if answer.code == "NoSuchBucket" => Error::NoBucket { place },
        Trouble::Answer(answer) => Error::Refused {
            place,
            code: answer.code.clone(),
            remedy: remedy(&answer.code, answer.region.as_deref()),
        },
        Trouble::NoAnswer { server, cause, .. } => {
            let remedy = if cause.contains("certificate") {
                "let `ca_file` name the certificate of whoever vouches for it, or correct `endpoint`"
            } else {
                "see whether it runs there and whether a firewall is in between, or correct `endpoint` and `region`"
            };
            Error::Unreachable { place, server: server.clone(), cause: cause.clone(), remedy }
        }
    })
}

/// What to do about an answer. The words are those of
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
fn remedy(code: &str, region: Option<&str>) -> String {
    const KEYS: &str =
        "`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or the file that `credentials_file` names";
    match code {
        "InvalidAccessKeyId" => format!("the server does not know the key: correct {KEYS}"),
        "SignatureDoesNotMatch" => format!("the secret does not belong to the key: correct {KEYS}"),
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            format!("the keys count no longer: renew {KEYS}, and `AWS_SESSION_TOKEN`")
        }
        "RequestTimeTooSkewed" | "RequestExpired" => "the clock of this machine is wrong: set it".to_owned(),
        "AccessDenied" | "AllAccessDisabled" | "403" => {
            "allow the owner of the key `s3:ListBucket` of the bucket, and `s3:GetObject`, `s3:PutObject` and `s3:DeleteObject` of \
             what is in it"
                .to_owned()
        }
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException"
        | "301"
        | "307" => match region {
            Some(region) => format!("the bucket is in another region: set `region` to `{region}`"),
            None => "the bucket is in another region: correct `region`, or `endpoint`".to_owned(),
        },
        _ => "correct `endpoint`, `region` and `path_style`, or see what the server says about it in its log".to_owned(),
    }
}

fn trouble(error: &object_store::Error) -> Option<&Trouble> {
    found(error)
}

/// The outermost cause of a kind.
fn found<E: std::error::Error + 'static>(error: &object_store::Error) -> Option<&E> {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        match cause.downcast_ref() {
            Some(found) => return Some(found),
            None => cause = cause.source()?,
        }
    }
}

/// How a role is asked for its keys.
type Setting = (AmazonS3ConfigKey, String);

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::client::{HttpError, HttpErrorKind};

    fn opened(options: Options, environment: &[(&str, &str)]) -> Result<AmazonS3> {
        let bucket = Bucket::read(&options)?.unwrap();
        let variable = |name: &str| {
            environment.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        };
        open(&options, &bucket, variable)
    }

    fn bucket() -> Options {
        Options { place: "s3://bucket".into(), ..Options::default() }
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];

    /// Where an object would be.
    fn address(options: Options, environment: &[(&str, &str)]) -> String {
        use object_store::signer::Signer as _;
        let store = opened(options, &[&KEYS, environment].concat()).unwrap();
        let path = object_store::path::Path::from("a/b");
        let url = pollster::block_on(store.signed_url(http::Method::GET, &path, Duration::from_secs(1)));
        let url = url.unwrap().to_string();
        assert!(!url.contains("secret"), "{url}");
        url.split('?').next().unwrap().to_owned()
    }

    #[test]
    fn an_object_is_where_the_options_and_the_environment_say() {
        let amazon = |host: &str| format!("https://{host}.amazonaws.com/");
        assert_eq!(address(bucket(), &[]), amazon("s3.us-east-1") + "bucket/a/b");
        assert_eq!(
            address(bucket(), &[("AWS_DEFAULT_REGION", "eu-north-1")]),
            amazon("s3.eu-north-1") + "bucket/a/b"
        );
        let both = [("AWS_DEFAULT_REGION", "x-1"), ("AWS_REGION", "eu-west-1")];
        assert_eq!(address(bucket(), &both), amazon("s3.eu-west-1") + "bucket/a/b");
        let said = Options { region: "sa-east-1".into(), path_style: false, ..bucket() };
        assert_eq!(address(said, &both), amazon("bucket.s3.sa-east-1") + "a/b");
        let lan = Options { endpoint: "http://lan:9000/".into(), allow_http: true, ..bucket() };
        assert_eq!(address(lan.clone(), &[]), "http://lan:9000/bucket/a/b");
        assert_eq!(address(Options { path_style: false, ..lan }, &[]), "http://bucket.lan:9000/a/b");
    }

    #[test]
    fn a_file_of_certificates_that_holds_none_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let said = || opened(Options { ca_file: path.clone(), ..bucket() }, &KEYS).unwrap_err().to_string();
        assert!(said().contains("`ca_file` names") && said().contains("does not read"), "{}", said());
        std::fs::write(&path, "none").unwrap();
        assert!(said().ends_with("ca.pem`, and it holds no certificate in PEM"), "{}", said());
    }

    /// What it means that a server refuses, or does not answer at all.
    fn explained(server: &str, outcome: Result<(&str, Option<&str>), &str>) -> String {
        let error = || {
            let (server, nothing) = (server.to_owned(), std::io::Error::other("nothing"));
            let trouble = match outcome {
                Ok((code, region)) => Trouble::Answer(answers::Answer {
                    server,
                    code: code.to_owned(),
                    region: region.map(str::to_owned),
                }),
                Err(cause) => Trouble::NoAnswer {
                    server,
                    cause: cause.to_owned(),
                    source: HttpError::new(HttpErrorKind::Connect, nothing),
                },
            };
            let source = Box::new(HttpError::new(HttpErrorKind::Unknown, trouble));
            object_store::Error::Generic { store: "S3", source }
        };
        assert_eq!(is_absence(&error()), outcome.is_ok_and(|(code, _)| code == "NoSuchKey"));
        explain("s3://bucket", &error()).unwrap().to_string()
    }

    #[test]
    fn what_a_server_says_is_put_into_words() {
        let missing = "depot `s3://bucket` is not there: create its bucket, or name another one in `place`";
        assert_eq!(explained("lan", Ok(("NoSuchBucket", None))), missing);
        assert_eq!(
            explained("lan", Ok(("PermanentRedirect", Some("eu-west-1")))),
            "depot `s3://bucket` refuses this with `PermanentRedirect`: the bucket is in another region: set `region` to `eu-west-1`"
        );
        assert_eq!(
            explained("169.254.169.254", Err("timed out")),
            "depot `s3://bucket` has no keys: none are set, and where a role would give some, `169.254.169.254` cannot be reached, \
             timed out: set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or name a file in `credentials_file`"
        );
        assert!(explained("sts.eu-west-1.amazonaws.com", Ok(("AccessDenied", None))).contains("has no keys"));
        assert!(explained("lan", Err("invalid peer certificate: x")).contains("`ca_file`"));
        // Something else that listens there has no objects, and is no empty depot either.
        assert!(explained("lan", Ok(("404", None))).contains("refuses this with `404`: correct `endpoint`"));
        assert!(explained("lan", Ok(("NoSuchKey", None))).contains("NoSuchKey"));
    }

    #[test]
    fn each_refusal_has_a_remedy() {
        assert_eq!(
            remedy("PermanentRedirect", Some("eu-west-1")),
            "the bucket is in another region: set `region` to `eu-west-1`"
        );
        assert!(remedy("301", None).contains("correct `region`"));
        assert!(remedy("SignatureDoesNotMatch", None).contains("AWS_SECRET_ACCESS_KEY"));
        assert!(remedy("ExpiredToken", None).contains("AWS_SESSION_TOKEN"));
        assert!(remedy("AccessDenied", None).contains("s3:PutObject"));
        assert!(remedy("RequestTimeTooSkewed", None).contains("clock"));
        assert!(remedy("Whatever", None).contains("endpoint"));
    }
}
