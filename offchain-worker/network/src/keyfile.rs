//! The file that holds a peer's identity.

use libp2p::identity::{KeyType, Keypair};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Why the peer's key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It can't be read or written.
    #[error("the peer key {path} can't be read or written: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds no ed25519 key.
    #[error(
        "the peer key {path} is damaged: {reason}. Restore it from a backup; or delete it, and \
         register the new peer id on chain"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Other users of the machine may read it.
    #[error("the peer key {path} can be read by others (mode {mode:o}): run `chmod 600` on it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Reads the ed25519 key at `path`, in libp2p's encoding. Where there is no file, makes a key and
/// writes it there, readable by its owner alone.
pub fn load_or_create_key(path: &Path) -> Result<Keypair, KeyFileError> {
    let failed = |source| KeyFileError::Io {
        path: path.into(),
        source,
    };
    match fs::read(path) {
        Ok(bytes) => {
            check_mode(path)?;
            decode(&bytes).map_err(|reason| KeyFileError::Corrupt {
                path: path.into(),
                reason,
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = Keypair::generate_ed25519();
            let bytes = key
                .to_protobuf_encoding()
                .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
            match create(path, &bytes) {
                Ok(()) => Ok(key),
                // Another process was faster: its key is the one that stays.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    load_or_create_key(path)
                }
                Err(error) => Err(failed(error)),
            }
        }
        Err(error) => Err(failed(error)),
    }
}

fn decode(bytes: &[u8]) -> Result<Keypair, String> {
    let key = Keypair::from_protobuf_encoding(bytes).map_err(|error| error.to_string())?;
    match key.key_type() {
        KeyType::Ed25519 => Ok(key),
        other => Err(format!("a key of type {other}, where ed25519 is asked for")),
    }
}

/// Writes a new file beside `path` and links it there once it is whole, so that nobody ever reads
/// half a key.
fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        fs::create_dir_all(parent)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let draft = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::hard_link(&draft, path)
    });
    let _ = fs::remove_file(&draft);
    written
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), KeyFileError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(path).map_err(|source| KeyFileError::Io {
        path: path.into(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed {
            path: path.into(),
            mode,
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_: &Path) -> Result<(), KeyFileError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_then_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/peer.key");
        let made = load_or_create_key(&path).unwrap();
        let read = load_or_create_key(&path).unwrap();
        assert_eq!(made.public(), read.public());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.key");
        load_or_create_key(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            load_or_create_key(&path),
            Err(KeyFileError::Exposed { mode: 0o644, .. })
        ));
    }

    #[test]
    fn a_damaged_key_is_named_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.key");
        load_or_create_key(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..0], &whole[..10], &[0; 68]] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(
                load_or_create_key(&path),
                Err(KeyFileError::Corrupt { .. })
            ));
            assert_eq!(fs::read(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn a_folder_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            load_or_create_key(folder.path()),
            Err(KeyFileError::Io { .. })
        ));
    }
}
