//! What must survive a crash: one append-only file for each session.
//!
//! ```text
//! record = length u32 ‖ first 8 bytes of H("quipu/journal/1", record) ‖ SCALE(record)
//! ```
//!
//! A crash in the middle of a write leaves a torn tail, which is cut off when the file is read
//! again: nothing behind it was ever answered for.

use crate::disk::{if_there, sync_folder};
use codec::{DecodeAll, Encode};
use quipu_primitives::{hash::hash_of, AccountBytes, SessionId};
use quipu_worker_core::serve::Record;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// Most journals that are kept. When there are more sessions whose end the chain did not see yet,
/// new ones are refused.
pub const MAX_JOURNALS: usize = 1024;
/// Most bytes of a record.
const MAX_RECORD: usize = 4096;
const PREFIX: usize = 4 + 8;
/// The folder of journals that were put aside, which is hardly ever there.
const ASIDE: &str = "aside";

/// The folder of the journals. Calls block.
#[derive(Clone, Debug)]
pub struct Journals {
    folder: PathBuf,
}

/// A session's journal. Its file is open only while something is written: there are more sessions
/// than a process may have open files. Calls block.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Bytes that are whole records.
    length: u64,
    /// A write failed and could not be undone.
    broken: bool,
}

impl Journals {
    /// The journals in `folder`, which is made if it is not there.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Journals {
            folder: folder.into(),
        })
    }

    fn path(&self, session: SessionId) -> PathBuf {
        self.folder.join(format!("{session}.log"))
    }

    /// The sessions of which there is a journal.
    pub fn sessions(&self) -> io::Result<Vec<SessionId>> {
        let mut sessions = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".log"));
            sessions.extend(id.and_then(|id| id.parse::<SessionId>().ok()));
        }
        sessions.sort_unstable();
        Ok(sessions)
    }

    /// The journal of a session, which is made if it is not there, and what it holds.
    pub fn load(&self, session: SessionId) -> io::Result<(Journal, Vec<Record>)> {
        let path = self.path(session);
        let is_new = !path.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        if is_new {
            // The file's name must survive a crash as well.
            sync_folder(&self.folder)?;
        }
        let (records, length) = read(&mut file)?;
        if file.metadata()?.len() > length {
            tracing::warn!(
                session,
                "the journal's last record was torn by a crash; it is cut off"
            );
            file.set_len(length)?;
        }
        let journal = Journal {
            path,
            length,
            broken: false,
        };
        Ok((journal, records))
    }

    /// What a session's journal holds, as far as it is whole; nothing where there is none.
    pub fn read(&self, session: SessionId) -> io::Result<Vec<Record>> {
        match if_there(File::open(self.path(session)))? {
            Some(mut file) => Ok(read(&mut file)?.0),
            None => Ok(Vec::new()),
        }
    }

    /// Puts the journal of the session with this key aside: there is another session of its number.
    pub fn put_aside(&self, session: SessionId, key: &AccountBytes) -> io::Result<()> {
        let aside = self.aside(session, key);
        fs::create_dir_all(self.folder.join(ASIDE))?;
        fs::rename(self.path(session), aside)?;
        self.sync()
    }

    /// Takes out again what was put aside of the session with this key, in the place of what is there
    /// under its number. False if there is nothing.
    pub fn take_out(&self, session: SessionId, key: &AccountBytes) -> io::Result<bool> {
        let taken = if_there(fs::rename(self.aside(session, key), self.path(session)))?;
        if taken.is_some() {
            self.sync()?;
        }
        Ok(taken.is_some())
    }

    /// Sees to it that names survive a crash.
    fn sync(&self) -> io::Result<()> {
        sync_folder(&self.folder.join(ASIDE))?;
        sync_folder(&self.folder)
    }

    fn aside(&self, session: SessionId, key: &AccountBytes) -> PathBuf {
        let key: String = key[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(ASIDE).join(format!("{session}.{key}"))
    }

    /// Removes a session's journal, and what was put aside under its number. Idempotent.
    pub fn remove(&self, session: SessionId) -> io::Result<()> {
        let number = format!("{session}.");
        let aside = if_there(fs::read_dir(self.folder.join(ASIDE)))?;
        for entry in aside.into_iter().flatten() {
            let entry = entry?;
            let name = entry.file_name();
            let is_its = |name: &str| name.starts_with(&number);
            if name.to_str().is_some_and(is_its) {
                if_there(fs::remove_file(entry.path()))?;
            }
        }
        if_there(fs::remove_file(self.path(session)))?;
        Ok(())
    }
}

/// All whole records from the start, and where they end.
fn read(file: &mut File) -> io::Result<(Vec<Record>, u64)> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    let (mut records, mut rest) = (Vec::new(), bytes.as_slice());
    while let Some((record, behind)) = next(rest) {
        records.push(record);
        rest = behind;
    }
    Ok((records, (bytes.len() - rest.len()) as u64))
}

fn next(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (check, rest) = rest.split_first_chunk::<8>()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_RECORD || rest.len() < length {
        return None;
    }
    let (record, behind) = rest.split_at(length);
    if checksum(record) != *check {
        return None;
    }
    Some((Record::decode_all(&mut &*record).ok()?, behind))
}

fn checksum(record: &[u8]) -> [u8; 8] {
    let digest = hash_of(b"quipu/journal/1", record);
    let mut check = [0; 8];
    check.copy_from_slice(&digest[..8]);
    check
}

impl Journal {
    /// Appends records. When this returns, urgent ones are on disk. After an error none of them
    /// is in the journal.
    pub fn append(&mut self, records: &[Record]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed half-way"));
        }
        let mut bytes = Vec::with_capacity(records.len() * (PREFIX + 256));
        for record in records {
            let record = record.encode();
            bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&checksum(&record));
            bytes.extend_from_slice(&record);
        }
        let file = OpenOptions::new().write(true).open(&self.path)?;
        let written = self.write(&file, &bytes, records.iter().any(Record::is_urgent));
        match &written {
            Ok(()) => self.length += bytes.len() as u64,
            Err(_) => self.broken = file.set_len(self.length).is_err(),
        }
        written
    }

    fn write(&self, mut file: &File, bytes: &[u8], is_urgent: bool) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.length))?;
        file.write_all(bytes)?;
        match is_urgent {
            true => file.sync_data(),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_primitives::{Receipt, Span, Voucher};
    use quipu_protocol::SignedReceipt;

    fn voucher(positions: u32) -> Record {
        Record::Voucher {
            voucher: Voucher {
                session: 7,
                node: 3,
                positions,
            },
            signature: [positions as u8; 64],
        }
    }

    fn receipt() -> Record {
        let receipt = Receipt {
            session: 7,
            node: 3,
            span: Span { start: 0, end: 10 },
            weights_root: [1; 32],
            profile: [2; 32],
            start: 0,
            end: 32,
            input: [3; 32],
            output: [4; 32],
            previous: [0; 32],
        };
        Record::Receipt(SignedReceipt {
            receipt,
            signature: [5; 64],
        })
    }

    #[test]
    fn what_was_appended_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let journals = Journals::open(&folder.path().join("deep/sessions")).unwrap();
        let (mut journal, records) = journals.load(7).unwrap();
        assert!(records.is_empty());
        journal.append(&[voucher(1), receipt()]).unwrap();
        journal.append(&[voucher(2)]).unwrap();
        drop(journal);
        let (mut journal, records) = journals.load(7).unwrap();
        assert_eq!(records, [voucher(1), receipt(), voucher(2)]);
        journal.append(&[voucher(3)]).unwrap();
        assert_eq!(journals.load(7).unwrap().1.len(), 4);
        assert_eq!(journals.sessions().unwrap(), [7]);
        journals.remove(7).unwrap();
        journals.remove(7).unwrap();
        assert!(journals.sessions().unwrap().is_empty());
    }

    #[test]
    fn a_torn_tail_is_cut_off_wherever_the_crash_came() {
        let folder = tempfile::tempdir().unwrap();
        let journals = Journals::open(folder.path()).unwrap();
        let (mut journal, _) = journals.load(7).unwrap();
        journal.append(&[voucher(1)]).unwrap();
        let whole = fs::metadata(journals.path(7)).unwrap().len();
        journal.append(&[receipt()]).unwrap();
        let bytes = fs::read(journals.path(7)).unwrap();
        for end in whole as usize..bytes.len() {
            fs::write(journals.path(7), &bytes[..end]).unwrap();
            let (mut journal, records) = journals.load(7).unwrap();
            assert_eq!(records, [voucher(1)], "cut at {end}");
            journal.append(&[voucher(2)]).unwrap();
            assert_eq!(journals.load(7).unwrap().1, [voucher(1), voucher(2)]);
        }
        // A flipped bit is no record either.
        let mut flipped = bytes.clone();
        flipped[whole as usize + 20] ^= 1;
        fs::write(journals.path(7), &flipped).unwrap();
        assert_eq!(journals.load(7).unwrap().1, [voucher(1)]);
    }

    #[test]
    fn sessions_of_one_number_keep_their_journals_apart() {
        let folder = tempfile::tempdir().unwrap();
        let journals = Journals::open(folder.path()).unwrap();
        let (one, other) = ([1; 32], [2; 32]);
        assert!(
            !journals.take_out(7, &one).unwrap(),
            "nothing was put aside"
        );
        let (mut journal, _) = journals.load(7).unwrap();
        journal.append(&[voucher(1)]).unwrap();
        journals.put_aside(7, &one).unwrap();
        // A crash here is like a session that begins: what was put aside is still found.
        let (mut journal, records) = journals.load(7).unwrap();
        assert!(records.is_empty());
        assert!(!journals.take_out(7, &other).unwrap());
        journal.append(&[voucher(2)]).unwrap();
        journals.put_aside(7, &other).unwrap();
        assert!(journals.take_out(7, &one).unwrap());
        assert_eq!(journals.load(7).unwrap().1, [voucher(1)]);
        assert_eq!(journals.sessions().unwrap(), [7]);

        // Nothing of it is left, and nothing of others is touched.
        let (mut journal, _) = journals.load(77).unwrap();
        journal.append(&[voucher(3)]).unwrap();
        journals.put_aside(77, &one).unwrap();
        journals.remove(7).unwrap();
        assert!(!journals.take_out(7, &other).unwrap());
        assert!(journals.load(7).unwrap().1.is_empty());
        assert!(journals.take_out(77, &one).unwrap());
        assert_eq!(journals.load(77).unwrap().1, [voucher(3)]);
    }

    #[test]
    fn other_files_in_the_folder_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        fs::write(folder.path().join("x.log"), "mine").unwrap();
        let journals = Journals::open(folder.path()).unwrap();
        assert!(journals.sessions().unwrap().is_empty());
    }
}
