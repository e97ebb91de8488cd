//! A private certificate authority in a folder: it says which key speaks for which region.
//!
//! It is used by an administrator's commands, never by a running node: nodes have no use for `ca.key`, and it should be on a
//! machine that serves nobody. It keeps no list of what it issued and cannot revoke: certificates are short-lived, and
//! whoever must be shut out at once is shut out by [`Authority::rotate`] and [`Authority::retire`].
//!
//! Keys are ECDSA on P-256. Every TLS library and every hardware or cloud key store speaks it, where Ed25519 is still missing in
//! some, and a link signs once per connection, so speed does not matter.
//!
//! | file | what it is |
//! |---|---|
//! | `ca.pem` | the certificates of all authorities that are trusted, newest first |
//! | `ca.key` | the key of the newest, mode 0600; `ca.key.next` for a moment while it is replaced |
//! | `ca.cross.pem` | while a rotation is under way: the newest authority, vouched for by the one before it |

mod making;

use super::certificate::{self, Fields, public_key};
use super::error::{Error, Result};
use super::name::{Peer, check_name, shown, uri};
use super::{files, time};
use making::{Signer, Span};
use rcgen::{KeyPair, PublicKeyData};
use std::path::{Path, PathBuf};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tw_types::RegionId;

/// How many days an authority or a certificate may be valid.
pub const DAYS_MAX: u32 = 3650;
/// How many hosts a certificate may name.
pub const HOSTS_MAX: usize = 64;

const NO_AUTHORITY: &str =
    "make an authority with `tradewind region ca init`, or name the folder that it is in";
const RESTORE: &str =
    "restore the folder of the authority from its backup, or make another authority in another folder";
const NO_REGION: &str = "make it with `tradewind region ca issue`";

/// An authority, opened.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    /// Newest first, never empty.
    trusted: Vec<(CertificateDer<'static>, Trusted)>,
    /// The newest authority's certificate by the one before it, while both are trusted.
    cross: Option<CertificateDer<'static>>,
    signer: Signer,
}

/// An authority that is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// What certificates call it: the name that it was given, and eight digits that tell rotations apart.
    pub name: String,
    /// When it expires, in milliseconds since 1970.
    pub expires_at_ms: u64,
}

/// What was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The region's number.
    pub region: RegionId,
    /// When the certificate expires, in milliseconds since 1970: after the days that were asked for, or together with the
    /// authority if that is earlier.
    pub expires_at_ms: u64,
}

impl Authority {
    /// Makes an authority in `folder`, which is created if it is missing. `name` is for people, 1 to 40 characters; `valid_days`
    /// is 1 to [`DAYS_MAX`].
    ///
    /// # Errors
    /// [`Error::Exists`] if there is an authority or a key of one, [`Error::Invalid`], [`Error::File`].
    pub fn init(folder: &Path, name: &str, valid_days: u32) -> Result<Self> {
        check_name("the name of the authority", name)?;
        let span = Span::of_days(valid_days)?;
        for file in [files::AUTHORITIES, files::AUTHORITY_KEY] {
            refuse_existing(&folder.join(file), "name another folder, or use the authority that is there")?;
        }
        Self::write_new(folder, name, &span)?;
        Self::open(folder)
    }

    fn write_new(folder: &Path, name: &str, span: &Span) -> Result<()> {
        files::make_folder(folder)?;
        let (signer, own) = Signer::new(name, span)?;
        files::write_pair(
            (&folder.join(files::AUTHORITIES), &making::pem([&own])),
            (&folder.join(files::AUTHORITY_KEY), &signer.key_pem()),
        )
    }

    /// Opens the authority in `folder`.
    ///
    /// # Errors
    /// [`Error::Missing`], and [`Error::Unusable`] if a file is not what it should be or the key is not that of the newest
    /// certificate.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::open_with_key(folder).map(|(authority, _)| authority)
    }

    /// Also says which file has the key.
    fn open_with_key(folder: &Path) -> Result<(Self, PathBuf)> {
        let path = folder.join(files::AUTHORITIES);
        let unusable = |path: &Path, reason: &str| Error::Unusable {
            path: path.to_owned(),
            reason: reason.to_owned(),
            remedy: RESTORE,
        };
        let mut trusted = Vec::new();
        for own in files::certificates(&path, &files::read(&path, NO_AUTHORITY)?, RESTORE)? {
            let Fields { subject: name, not_after_ms: expires_at_ms, .. } =
                certificate::fields(&own).ok_or_else(|| unusable(&path, "a certificate cannot be read"))?;
            trusted.push((own, Trusted { name, expires_at_ms }));
        }
        let (newest, of) = trusted.first().ok_or_else(|| unusable(&path, "it holds no certificate"))?;
        let key_path = folder.join(files::AUTHORITY_KEY);
        let (key_path, key) = key_of(newest, files::keys(&key_path, RESTORE)?)
            .ok_or_else(|| unusable(&key_path, "it is not the key of the first certificate in `ca.pem`"))?;
        let signer = Signer::of(key, &of.name);
        let cross = Self::read_cross(folder, newest, trusted.len())?;
        Ok((Self { folder: folder.to_owned(), trusted, cross, signer }, key_path))
    }

    /// The cross certificate, if it vouches for the newest authority while there is an older one.
    fn read_cross(
        folder: &Path,
        newest: &CertificateDer<'_>,
        trusted: usize,
    ) -> Result<Option<CertificateDer<'static>>> {
        let path = folder.join(files::CROSS);
        let Some(pem) = files::read_if_there(&path)?.filter(|_| trusted > 1) else { return Ok(None) };
        let found = files::certificates(&path, &pem, RESTORE)?;
        Ok(found
            .into_iter()
            .find(|cross| public_key(cross).is_some() && public_key(cross) == public_key(newest)))
    }

    /// Every authority that is trusted, the one that issues first: two while a rotation is under way.
    pub fn trusted(&self) -> impl Iterator<Item = &Trusted> {
        self.trusted.iter().map(|(_, trusted)| trusted)
    }

    /// Makes a key and a certificate for a region, for `valid_days` (1 to [`DAYS_MAX`]), and puts `region.pem`, `region.key` and
    /// `ca.pem` into the folder `into`, which is created if it is missing. `hosts` (DNS names and IP addresses, at most
    /// [`HOSTS_MAX`]) are for other programs that look at the certificate: links do not compare them.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is a key or a certificate already, [`Error::Invalid`], [`Error::AuthorityExpired`],
    /// [`Error::File`].
    pub fn issue(
        &self,
        region: RegionId,
        name: &str,
        hosts: &[String],
        valid_days: u32,
        into: &Path,
    ) -> Result<Issued> {
        for file in [files::REGION_KEY, files::REGION] {
            let remedy = "renew it with `tradewind region ca issue --renew`, or name another folder";
            refuse_existing(&into.join(file), remedy)?;
        }
        self.issue_for(region, name, hosts, &Span::of_days(valid_days)?, into)
    }

    /// As [`Authority::issue`], in the place of a certificate of the same region, with a new key. The old certificate stays valid
    /// until it expires: a key that leaked is shut out by a rotation only. A node that reads the folder meanwhile finds the
    /// old pair or the new one.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no certificate, [`Error::Exists`] if it is that of another region, and as
    /// [`Authority::issue`].
    pub fn renew(
        &self,
        region: RegionId,
        name: &str,
        hosts: &[String],
        valid_days: u32,
        into: &Path,
    ) -> Result<Issued> {
        let path = into.join(files::REGION);
        let old = files::certificates(&path, &files::read(&path, NO_REGION)?, NO_REGION)?;
        if certificate::peer_region(&old)? != (region, name.to_owned()) {
            let remedy =
                "it is the certificate of another region: name the folder of the region to be renewed";
            return Err(Error::Exists { path, remedy });
        }
        let span = Span::of_days(valid_days)?;
        let key = into.join(files::REGION_KEY);
        if let Some((fits, _)) =
            old.first().zip(files::keys(&key, NO_REGION).ok()).and_then(|(own, keys)| key_of(own, keys))
        {
            files::settle(&key, &fits)?;
        }
        self.issue_for(region, name, hosts, &span, into)
    }

    fn issue_for(
        &self,
        region: RegionId,
        name: &str,
        hosts: &[String],
        span: &Span,
        into: &Path,
    ) -> Result<Issued> {
        let newest = self.newest()?;
        if newest.expires_at_ms <= time::now_ms() {
            let Trusted { name, expires_at_ms } = newest.clone();
            return Err(Error::AuthorityExpired { name, expires_at_ms });
        }
        let span = span.until_at_most(newest.expires_at_ms);
        let subject = making::Subject::new(uri(region, name)?, format!("region {region} {name}"), hosts)?;
        let (key, certificate) = self.signer.issue(&subject, &span)?;
        let Peer { expires_at_ms, .. } = certificate::peer(&certificate)?;
        files::make_folder(into)?;
        // What is trusted comes first: it is never less than before, and what is shown may need it.
        self.hand_out(into)?;
        files::write_pair(
            (&into.join(files::REGION), &making::pem([&certificate].into_iter().chain(&self.cross))),
            (&into.join(files::REGION_KEY), &key.serialize_pem()),
        )?;
        Ok(Issued { region, expires_at_ms })
    }

    /// Copies `ca.pem`, and nothing else, into the folder of a node: what it trusts from its next reading on.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn hand_out(&self, into: &Path) -> Result<()> {
        let bundle = making::pem(self.trusted.iter().map(|(own, _)| own));
        files::write(&into.join(files::AUTHORITIES), &bundle, false)
    }

    /// Makes a new authority in the place of the one in `folder`, for `valid_days`. From now on it issues, and both are trusted. What it
    /// issues carries the old one's word for it, so that nodes which were not told of it accept it too. The old one's key is gone
    /// then: it issues nothing more.
    ///
    /// # Errors
    /// [`Error::RotationUnderWay`] if two are trusted already, [`Error::Invalid`], and as [`Authority::open`].
    pub fn rotate(folder: &Path, valid_days: u32) -> Result<Self> {
        let (old, key) = Self::open_with_key(folder)?;
        if old.trusted.len() > 1 {
            return Err(Error::RotationUnderWay { folder: folder.to_owned() });
        }
        let span = Span::of_days(valid_days)?;
        files::settle(&folder.join(files::AUTHORITY_KEY), &key)?;
        let newest = old.newest()?;
        // The name that people gave it is all but the digits.
        let name = newest.name.rsplit_once(' ').map_or(newest.name.as_str(), |(name, _)| name);
        let (signer, own) = Signer::new(name, &span)?;
        let cross = old.signer.vouch_for(&signer, &span.until_at_most(newest.expires_at_ms))?;
        files::write(&folder.join(files::CROSS), &making::pem([&cross]), false)?;
        let bundle = making::pem([&own].into_iter().chain(old.trusted.iter().map(|(own, _)| own)));
        files::write_pair(
            (&folder.join(files::AUTHORITIES), &bundle),
            (&folder.join(files::AUTHORITY_KEY), &signer.key_pem()),
        )?;
        Self::open(folder)
    }

    /// Ends a rotation: only the newest authority in `folder` is trusted. Nodes refuse what older ones issued as soon as they have
    /// the new `ca.pem` (by [`Authority::renew`] or [`Authority::hand_out`]), so every node must have been renewed before.
    ///
    /// # Errors
    /// [`Error::NoRotation`] if only one is trusted, and as [`Authority::open`].
    pub fn retire(folder: &Path) -> Result<Self> {
        let (authority, key) = Self::open_with_key(folder)?;
        let Some((newest, _)) = authority.trusted.first().filter(|_| authority.trusted.len() > 1) else {
            return Err(Error::NoRotation { folder: folder.to_owned() });
        };
        files::settle(&folder.join(files::AUTHORITY_KEY), &key)?;
        files::write(&folder.join(files::AUTHORITIES), &making::pem([newest]), false)?;
        files::remove(&folder.join(files::CROSS))?;
        Self::open(folder)
    }

    fn newest(&self) -> Result<&Trusted> {
        self.trusted.first().map(|(_, trusted)| trusted).ok_or_else(|| Error::Missing {
            path: self.folder.join(files::AUTHORITIES),
            remedy: NO_AUTHORITY,
        })
    }

    /// Makes an authority that ends at a moment that may have passed.
    #[cfg(test)]
    pub(super) fn init_until(folder: &Path, until_ms: u64) {
        Self::write_new(folder, "tests", &Span { from_ms: 0, until_ms }).unwrap();
    }

    /// Issues for a span that may have ended, or not have begun.
    #[cfg(test)]
    pub(super) fn issue_between(&self, region: RegionId, from_ms: u64, until_ms: u64, into: &Path) {
        self.issue_for(region, "tested", &[], &Span { from_ms, until_ms }, into).unwrap();
    }

    /// Puts a certificate without the name of a region into a folder, or with the names that are given.
    #[cfg(test)]
    pub(super) fn issue_named(&self, uris: &[&str], into: &Path) {
        let mut subject = making::Subject::new(String::new(), "stranger".into(), &[]).unwrap();
        subject.uris = uris.iter().map(|uri| (*uri).to_owned()).collect();
        let (key, certificate) = self.signer.issue(&subject, &Span::of_days(1).unwrap()).unwrap();
        self.hand_out(into).unwrap();
        files::write_pair(
            (&into.join(files::REGION), &making::pem([&certificate])),
            (&into.join(files::REGION_KEY), &key.serialize_pem()),
        )
        .unwrap();
    }
}

/// The key that belongs to a certificate, among those that may, and where it is.
fn key_of(certificate: &CertificateDer<'_>, keys: Vec<(PathBuf, Vec<u8>)>) -> Option<(PathBuf, KeyPair)> {
    let wanted = public_key(certificate)?;
    keys.into_iter().find_map(|(path, bytes)| {
        let key = KeyPair::from_pem(std::str::from_utf8(&bytes).ok()?).ok()?;
        (key.subject_public_key_info() == wanted).then_some((path, key))
    })
}

fn refuse_existing(path: &Path, remedy: &'static str) -> Result<()> {
    match path.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(Error::Exists { path: path.to_owned(), remedy }),
        Err(source) => Err(Error::File { path: path.to_owned(), doing: "read", source }),
    }
}

/// The text of a host that was refused.
fn bad_host(host: &str) -> Error {
    Error::Invalid {
        what: "a host",
        given: shown(host),
        rule: "a host is a DNS name without wildcards, or an IP address, and there are at most 64",
    }
}
