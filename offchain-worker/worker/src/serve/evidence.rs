//! What went in and what came out, for whoever audits the server: bound by its receipts, kept until the
//! chain has paid the session out, which it does not before its audits are over.
//!
//! A folder for each session, a file in it for each key that a session of this number has (a fork of the
//! chain may give the number again). In the file, range after range, what went in and then what came out:
//!
//! ```text
//! offset of the range from position s on = 2 × s × bytes of a row
//! ```
//!
//! Every range but the last has as many positions, so that each is found without an index. There are no
//! checksums: the receipts' commitments are better ones. What lies behind the last range for which there
//! is a receipt was torn by a crash, and is written over.
//!
//! Bounded: a session is admitted only where all its positions would still fit. A server that lost what it
//! signed for could be charged with withholding it, so that nothing is dropped to make room.

use crate::disk::{if_there, sync_folder};
use quipu_primitives::{AccountBytes, SessionId};
use quipu_worker_core::serve::Evidence;
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// There is no room for a session's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{asked} bytes are needed to keep what went in and out; {free} are free")]
pub struct Full {
    /// What the session may come to.
    pub asked: u64,
    /// What is free.
    pub free: u64,
}

/// The rows of all sessions. Calls block.
#[derive(Clone, Debug)]
pub struct EvidenceStore(Arc<Store>);

#[derive(Debug)]
struct Store {
    folder: PathBuf,
    /// Bytes that all sessions together may take.
    limit: u64,
    /// Bytes of a row.
    row: u64,
    taken: Mutex<HashMap<SessionId, Taken>>,
}

/// What a session takes.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    /// Bytes, or what it may come to.
    bytes: u64,
    /// No more will come.
    is_final: bool,
}

impl EvidenceStore {
    /// The rows in `folder`, which is made if it is not there; at most `limit` bytes of them.
    pub fn open(folder: &Path, limit: u64, row: usize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut taken = HashMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(session) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let bytes = size_of(&entry.path())?;
            // Whether more will come is not known.
            let is_final = false;
            taken.insert(session, Taken { bytes, is_final });
        }
        Ok(EvidenceStore(Arc::new(Store {
            folder: folder.into(),
            limit,
            row: row as u64,
            taken: Mutex::new(taken),
        })))
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<SessionId, Taken>> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, session: SessionId) -> PathBuf {
        self.0.folder.join(session.to_string())
    }

    fn path(&self, session: SessionId, key: &AccountBytes) -> PathBuf {
        let key = hex::encode(&key[..8]);
        self.folder(session).join(format!("{key}.rows"))
    }

    /// The sessions of which there is something.
    pub fn sessions(&self) -> Vec<SessionId> {
        let mut sessions: Vec<SessionId> = self.taken().keys().copied().collect();
        sessions.sort_unstable();
        sessions
    }

    /// Bytes that sessions take, or may come to take.
    pub fn used(&self) -> u64 {
        self.taken().values().map(|taken| taken.bytes).sum()
    }

    /// Sees to it that so many positions of a session will fit.
    pub fn admit(&self, session: SessionId, positions: u32) -> Result<(), Full> {
        let asked = 2 * u64::from(positions) * self.0.row;
        let mut taken = self.taken();
        let others: u64 = taken
            .iter()
            .filter(|(other, _)| **other != session)
            .map(|(_, taken)| taken.bytes)
            .sum();
        let free = self.0.limit.saturating_sub(others);
        let own = taken.entry(session).or_default();
        // What is there already can't be refused any more.
        if own.is_final || asked <= own.bytes {
            return Ok(());
        }
        if asked > free {
            if own.bytes == 0 {
                taken.remove(&session);
            }
            return Err(Full { asked, free });
        }
        own.bytes = asked;
        Ok(())
    }

    /// No more rows of the session will come: what was put by for them is free.
    pub fn finished(&self, session: SessionId) -> io::Result<()> {
        let bytes = size_of(&self.folder(session))?;
        let is_final = true;
        self.taken().insert(session, Taken { bytes, is_final });
        Ok(())
    }

    /// Writes rows. When this returns they are on disk.
    pub fn append(
        &self,
        session: SessionId,
        key: &AccountBytes,
        evidence: &[Evidence],
    ) -> io::Result<()> {
        if evidence.is_empty() {
            return Ok(());
        }
        let path = self.path(session, key);
        let is_new = !path.exists();
        if is_new {
            fs::create_dir_all(self.folder(session))?;
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        for range in evidence {
            let offset = 2 * u64::from(range.start) * self.0.row;
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(&range.input)?;
            file.write_all(&range.output)?;
        }
        file.sync_data()?;
        if is_new {
            // Names must survive a crash as well.
            sync_folder(&self.folder(session))?;
            sync_folder(&self.0.folder)?;
        }
        Ok(())
    }

    /// The rows of a range for which there is a receipt; `None` where they are not all there.
    pub fn read(
        &self,
        session: SessionId,
        key: &AccountBytes,
        (start, end): (u32, u32),
    ) -> io::Result<Option<Evidence>> {
        let Some(mut file) = if_there(File::open(self.path(session, key)))? else {
            return Ok(None);
        };
        file.seek(SeekFrom::Start(2 * u64::from(start) * self.0.row))?;
        let length = (u64::from(end.saturating_sub(start)) * self.0.row) as usize;
        let mut side = || -> io::Result<Option<bytes::Bytes>> {
            let mut rows = vec![0; length];
            match file.read_exact(&mut rows) {
                Ok(()) => Ok(Some(rows.into())),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
                Err(error) => Err(error),
            }
        };
        let (Some(input), Some(output)) = (side()?, side()?) else {
            return Ok(None);
        };
        Ok(Some(Evidence {
            start,
            end,
            input,
            output,
        }))
    }

    /// Removes a session's rows. Idempotent.
    pub fn remove(&self, session: SessionId) -> io::Result<()> {
        if_there(fs::remove_dir_all(self.folder(session)))?;
        self.taken().remove(&session);
        Ok(())
    }
}

/// Bytes of the files in a folder; none where it is not there.
fn size_of(folder: &Path) -> io::Result<u64> {
    let entries = if_there(fs::read_dir(folder))?;
    entries
        .into_iter()
        .flatten()
        .map(|entry| Ok(entry?.metadata()?.len()))
        .sum::<io::Result<u64>>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: usize = 8;
    const KEY: AccountBytes = [1; 32];
    const OTHER: AccountBytes = [2; 32];

    fn evidence(start: u32, end: u32, salt: u8) -> Evidence {
        let rows = |side: u8| vec![salt ^ side; (end - start) as usize * ROW].into();
        Evidence {
            start,
            end,
            input: rows(0),
            output: rows(1),
        }
    }

    fn store(folder: &Path) -> EvidenceStore {
        EvidenceStore::open(folder, 10_000, ROW).unwrap()
    }

    #[test]
    fn what_was_written_is_read_again_by_range() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/evidence");
        let ranges = [
            evidence(0, 32, 10),
            evidence(32, 64, 20),
            evidence(64, 70, 30),
        ];
        store(&path).append(7, &KEY, &ranges[..1]).unwrap();
        store(&path).append(7, &KEY, &ranges[1..]).unwrap();
        let store = store(&path);
        for range in &ranges {
            let read = store.read(7, &KEY, (range.start, range.end)).unwrap();
            assert_eq!(read.as_ref(), Some(range));
        }
        // What was never written, of this session or another.
        assert_eq!(store.read(7, &KEY, (64, 96)).unwrap(), None);
        assert_eq!(store.read(7, &KEY, (96, 128)).unwrap(), None);
        assert_eq!(store.read(7, &OTHER, (0, 32)).unwrap(), None);
        assert_eq!(store.read(8, &KEY, (0, 32)).unwrap(), None);
        assert_eq!(store.sessions(), [7]);
        assert_eq!(store.used(), 2 * 70 * ROW as u64);
        store.remove(7).unwrap();
        store.remove(7).unwrap();
        assert_eq!((store.used(), store.sessions()), (0, vec![]));
        assert_eq!(store.read(7, &KEY, (0, 32)).unwrap(), None);
    }

    #[test]
    fn what_a_crash_tore_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        store.append(7, &KEY, &[evidence(0, 32, 1)]).unwrap();
        // The rows got there, the receipt for them didn't: the range is computed again.
        store.append(7, &KEY, &[evidence(32, 64, 2)]).unwrap();
        let file = OpenOptions::new().write(true).open(store.path(7, &KEY));
        file.unwrap().set_len(2 * 40 * ROW as u64).unwrap();
        assert_eq!(store.read(7, &KEY, (32, 64)).unwrap(), None);
        let again = evidence(32, 64, 3);
        store.append(7, &KEY, std::slice::from_ref(&again)).unwrap();
        assert_eq!(store.read(7, &KEY, (32, 64)).unwrap(), Some(again));
        let first = Some(evidence(0, 32, 1));
        assert_eq!(store.read(7, &KEY, (0, 32)).unwrap(), first);
    }

    #[test]
    fn sessions_of_one_number_are_kept_apart_and_go_together() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        store.append(7, &KEY, &[evidence(0, 32, 1)]).unwrap();
        store.append(7, &OTHER, &[evidence(0, 32, 2)]).unwrap();
        let read = |key| store.read(7, key, (0, 32)).unwrap();
        assert_eq!(read(&KEY), Some(evidence(0, 32, 1)));
        assert_eq!(read(&OTHER), Some(evidence(0, 32, 2)));
        store.remove(7).unwrap();
        assert_eq!((read(&KEY), read(&OTHER)), (None, None));
    }

    #[test]
    fn no_session_is_admitted_that_might_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        // Room for 625 positions.
        let store = store(folder.path());
        store.admit(1, 300).unwrap();
        store.admit(2, 300).unwrap();
        let full = Full {
            asked: 4_800,
            free: 400,
        };
        assert_eq!(store.admit(3, 300), Err(full));
        store.admit(3, 25).unwrap();
        // Again, and less: it keeps what it has. More does not fit.
        store.admit(1, 100).unwrap();
        assert_eq!(store.used(), 10_000);
        assert!(store.admit(1, 301).is_err());

        // What is not needed after all is free again, also after a restart.
        store.append(1, &KEY, &[evidence(0, 32, 1)]).unwrap();
        store.finished(1).unwrap();
        store.finished(2).unwrap();
        let left = 2 * (32 + 25) * ROW as u64;
        assert_eq!(store.used(), left);
        store.admit(4, 500).unwrap();
        let store = self::store(folder.path());
        assert_eq!(store.used(), 2 * 32 * ROW as u64);
        // A session that is opened again after its end needs no more.
        store.finished(1).unwrap();
        store.admit(1, 600).unwrap();
        assert_eq!(store.used(), 2 * 32 * ROW as u64);
        // What is there can't be refused, even where less is allowed now.
        let small = EvidenceStore::open(folder.path(), 100, ROW).unwrap();
        small.admit(1, 32).unwrap();
        assert!(small.admit(5, 32).is_err());
    }
}
