//! A private Kafka cluster of one broker or a few, in KRaft mode: every broker is its own controller.

mod broker;

pub use broker::Broker;

use crate::install::JavaInstall;
use crate::process::{free_port, share};
use broker::{Layout, Listener};
use std::sync::{Arc, Mutex, Weak};

/// How a cluster is to be.
#[derive(Debug, Clone)]
pub struct KafkaBuilder {
    brokers: u32,
    settings: Vec<(String, String)>,
    more: Vec<Listener>,
}

impl KafkaBuilder {
    /// How many brokers it has: 1 unless told. With three, topics have three replicas, two of which must have what is
    /// acknowledged.
    pub fn brokers(mut self, brokers: u32) -> Self {
        assert!(brokers > 0, "a cluster has at least one broker");
        self.brokers = brokers;
        self
    }

    /// A line of every broker's `server.properties`; the last one of a name counts.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets the broker also listen on `port`, and send whoever comes there to `near`: to this end of a [`Line`](crate::Line) that leads to
    /// `port`. For a cluster of one broker.
    pub fn listen_behind(mut self, port: u16, near: u16) -> Self {
        let name = format!("FAR{}", self.more.len());
        self.more.push(Listener { name, protocol: "PLAINTEXT", port, near });
        self
    }

    /// Lets the broker also listen on `port`, with this protocol: `SSL`, `SASL_SSL`, `SASL_PLAINTEXT`. What that needs is said by settings
    /// that begin with `listener.name.` and `name` in lower case. For a cluster of one broker.
    pub fn listener(mut self, name: &str, protocol: &'static str, port: u16) -> Self {
        self.more.push(Listener { name: name.to_owned(), protocol, port, near: port });
        self
    }

    /// Starts the cluster.
    ///
    /// # Panics
    /// When it does not start, with what the brokers say.
    pub fn start(self) -> Kafka {
        let layout = Arc::new(Layout {
            ports: (0..self.brokers).map(|_| (free_port(), free_port())).collect(),
            settings: self.settings,
            more: self.more,
        });
        let mut kafka =
            Kafka { brokers: (0..self.brokers).map(|index| Broker::create(index, layout.clone())).collect() };
        kafka.start_again();
        kafka
    }
}

/// A Kafka cluster that belongs to one test, or to the tests that run at the same time. Its brokers end, and their
/// folders go, when this value is dropped; the kernel ends them even if the test's process is killed.
///
/// No password, no encryption, but on listeners that are added. Topics are not created by themselves. As by default, Kafka does not sync each record to
/// the disk, which survives kill -9, but not a power cut.
#[derive(Debug)]
pub struct Kafka {
    brokers: Vec<Broker>,
}

impl Kafka {
    /// A cluster to be described further.
    pub fn builder() -> KafkaBuilder {
        KafkaBuilder { brokers: 1, settings: Vec::new(), more: Vec::new() }
    }

    /// One broker with default settings.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// One broker for all tests of this program that ask for it at the same time: they must not disturb it, and use names
    /// of their own. It ends with the last of them.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Kafka>> = Mutex::new(Weak::new());
        share(&SHARED, Self::start)
    }

    /// `127.0.0.1:PORT`, one per broker, separated by commas.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> =
            self.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.port())).collect();
        addresses.join(",")
    }

    /// The brokers, in the order of their numbers.
    pub fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// One of them, from 0, to be stopped, killed, paused or started again.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn broker(&mut self, index: usize) -> &mut Broker {
        self.brokers.get_mut(index).expect("the cluster has fewer brokers")
    }

    /// Starts all brokers that do not run, and waits until they take requests.
    ///
    /// # Panics
    /// When one does not start, with what it says.
    pub fn start_again(&mut self) {
        // A broker gets ready once most of the controllers are there: all of them have to start first.
        for broker in &mut self.brokers {
            broker.launch();
        }
        for broker in &mut self.brokers {
            broker.await_ready();
        }
    }

    /// Makes a user for SCRAM-SHA-512 with a password, by Kafka's own tool.
    ///
    /// # Panics
    /// When the tool fails, with what it says.
    pub fn add_scram_user(&self, user: &str, password: &str) {
        let mut command = JavaInstall::kafka().command();
        command.args([
            "-Xmx128m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "kafka.admin.ConfigCommand",
        ]);
        command.args(["--bootstrap-server", &self.bootstrap(), "--alter", "--entity-type", "users"]);
        command.args([
            "--entity-name",
            user,
            "--add-config",
            &format!("SCRAM-SHA-512=[password={password}]"),
        ]);
        let done = command.output().expect("Kafka's tool");
        let said =
            [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(done.status.success() && said.contains("Completed updating"), "no user was made: {said}");
    }

    /// Ends all brokers with `kill -9`.
    pub fn kill(&mut self) {
        self.brokers.iter_mut().for_each(Broker::kill);
    }
}
