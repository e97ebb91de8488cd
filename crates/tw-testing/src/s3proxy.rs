//! A private S3Proxy: the interface of Amazon S3 over a folder.

use crate::install::JavaInstall;
use crate::process::{end, free_port, get, pause, send, share, start, text};
use crate::wait::eventually;
use rustix::process::Signal;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex, Weak};
use tempfile::TempDir;

/// A small heap, and a short start rather than fast code.
const JVM: [&str; 4] =
    ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"];
/// Of the file that holds the certificate, which is worth nothing.
const PASSWORD: &str = "password";
const CERTIFICATE: &str = "certificate";

/// An S3Proxy that belongs to one test, or to the tests that run at the same time. It ends, and its folder goes, when this
/// value is dropped; the kernel ends it even if the test's process is killed, and even while it is paused.
///
/// Requests must be signed (version 4) with [`S3Proxy::KEY`] and [`S3Proxy::SECRET`].
#[derive(Debug)]
pub struct S3Proxy {
    folder: TempDir,
    port: u16,
    has_tls: bool,
    process: Option<Child>,
}

impl S3Proxy {
    /// The id of the key that it knows.
    pub const KEY: &str = "tradewind-tests";
    /// The secret of that key.
    pub const SECRET: &str = "not+a/secret";

    /// Starts a server without encryption.
    ///
    /// # Panics
    /// When it does not start, with what it says.
    pub fn start() -> Self {
        Self::start_as(false)
    }

    /// Starts one that speaks TLS only, with a certificate that nobody vouches for but [`S3Proxy::certificate`].
    ///
    /// # Panics
    /// When it does not start, with what it says.
    pub fn start_with_tls() -> Self {
        Self::start_as(true)
    }

    /// One server without encryption for all tests of this program that ask for it at the same time: they must not disturb
    /// it, and use buckets of their own. It ends with the last of them.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<S3Proxy>> = Mutex::new(Weak::new());
        share(&SHARED, Self::start)
    }

    fn start_as(has_tls: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("tw-s3proxy-").tempdir().expect("temporary folder");
        let mut server = Self { folder, port: free_port(), has_tls, process: None };
        fs::create_dir(server.file("data")).expect("create folder");
        fs::write(server.file("logback.xml"), LOGBACK).expect("logback.xml");
        fs::write(server.file("properties"), server.properties()).expect("properties");
        server.write_keys(Self::SECRET);
        if has_tls {
            server.make_certificate();
        }
        server.start_again();
        server
    }

    fn properties(&self) -> String {
        let tls = if self.has_tls {
            let store = self.file("certificate.p12");
            format!("s3proxy.keystore-path={}\ns3proxy.keystore-password={PASSWORD}\n", store.display())
        } else {
            String::new()
        };
        format!(
            "s3proxy.{}endpoint={}\n{tls}s3proxy.authorization=aws-v4\ns3proxy.identity={}\ns3proxy.credential={}\n\
             jclouds.provider=filesystem-nio2\njclouds.filesystem.basedir={}\n",
            if self.has_tls { "secure-" } else { "" },
            self.endpoint(),
            Self::KEY,
            Self::SECRET,
            self.file("data").display()
        )
    }

    /// A key pair and a certificate for 127.0.0.1 that it signs itself.
    fn make_certificate(&self) {
        let keytool = |args: &[&str]| {
            let mut command = JavaInstall::s3proxy().command();
            command.args(["-m", "java.base/sun.security.tools.keytool.Main"]).args(args);
            command.args(["-alias", CERTIFICATE, "-storepass", PASSWORD, "-keystore"]);
            let done = command.arg(self.file("certificate.p12")).output().expect("run java");
            assert!(done.status.success(), "keytool fails: {}", String::from_utf8_lossy(&done.stdout));
        };
        let names = ["-dname", "CN=s3proxy", "-ext", "san=ip:127.0.0.1"];
        let kind = ["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-storetype", "PKCS12"];
        keytool(&[&kind[..], &names[..]].concat());
        keytool(&["-exportcert", "-rfc", "-file", &self.certificate().display().to_string()]);
    }

    /// `http://127.0.0.1:PORT`, or the same with `https`.
    pub fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.has_tls { "https" } else { "http" }, self.port)
    }

    /// The certificate of a server with TLS, in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.file("certificate.pem")
    }

    /// A file with the keys, in the form of `~/.aws/credentials`.
    pub fn keys(&self) -> PathBuf {
        self.file("keys")
    }

    /// Writes another secret into the file of the keys; the server goes by its own.
    pub fn write_keys(&self, secret: &str) {
        let keys =
            format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {secret}\n", Self::KEY);
        // In one step: it may be read at the same time.
        fs::write(self.file("new-keys"), keys).expect("keys");
        fs::rename(self.file("new-keys"), self.keys()).expect("keys");
    }

    /// Makes a bucket.
    pub fn create_bucket(&self, name: &str) {
        let folder = self.file("data").join(name);
        fs::create_dir(&folder).expect("create folder");
        // A bucket whose folder everybody may read, everybody may read.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("permissions");
    }

    /// The folder that holds the objects of a bucket as files.
    pub fn bucket_folder(&self, name: &str) -> PathBuf {
        self.file("data").join(name)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it has said.
    pub fn log(&self) -> String {
        text(&self.file("log"))
    }

    /// Starts it (again), on the same port and with its data.
    ///
    /// # Panics
    /// When it runs already; when it does not start, with what it says.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the server runs already");
        // After a kill, the port may be taken for a moment: then starting fails.
        let process = eventually(|| self.try_start(), || format!("S3Proxy does not start:\n{}", self.log()));
        self.process = Some(process);
    }

    /// The server once it answers, or nothing when it ended instead.
    fn try_start(&self) -> Option<Child> {
        let mut command = JavaInstall::s3proxy().command();
        command.args(JVM).arg(format!("-Dlogback.configurationFile={}", self.file("logback.xml").display()));
        command.args(["org.gaul.s3proxy.Main", "--properties"]).arg(self.file("properties"));
        command.current_dir(self.folder.path());
        start(command, &self.file("log"), |_| self.answers())
    }

    /// Whether somebody takes connections, and without TLS answers.
    fn answers(&self) -> bool {
        if self.has_tls {
            return TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        }
        get(self.port, "/").is_ok_and(|answer| answer.starts_with("HTTP/1."))
    }

    /// Ends it with `kill -9`.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            end(process, Signal::KILL);
        }
    }

    /// Stops it in its tracks (SIGSTOP): connections stay open, and nobody answers.
    pub fn pause(&self) {
        pause(self.process());
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        send(self.process(), Signal::CONT);
    }

    fn process(&self) -> &Child {
        self.process.as_ref().expect("the server does not run")
    }

    /// The text of a `[depot]` table that names a folder of a bucket of this server; keys and certificates not included.
    pub fn depot(&self, place: &str) -> String {
        let http = if self.has_tls { "" } else { "allow_http = true\n" };
        format!("[depot]\nplace = \"s3://{place}\"\nendpoint = \"{}\"\n{http}", self.endpoint())
    }
}

impl Drop for S3Proxy {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Warnings and worse.
const LOGBACK: &str = r#"<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %level %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"#;
