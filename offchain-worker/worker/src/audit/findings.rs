//! What was found of others' work, on disk until it is revealed.

use crate::disk::{if_there, write_whole};
use codec::{DecodeAll, Encode};
use quipu_primitives::audit::{Finding, Subject};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// A finding with the salt of its commitment, as it lies on disk in SCALE.
pub type Kept = (Finding, [u8; 32]);

/// The findings, a file for each. Calls block, for as long as a small file takes.
#[derive(Clone, Debug)]
pub struct Findings(PathBuf);

impl Findings {
    /// The findings in `folder`, which is made if it is not there.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Findings(folder.into()))
    }

    fn path(&self, subject: Subject) -> PathBuf {
        self.0.join(format!("{}-{}", subject.session, subject.node))
    }

    /// What was found; `None` where that is nothing.
    pub fn read(&self, subject: Subject) -> io::Result<Option<Kept>> {
        let bytes = if_there(fs::read(self.path(subject)))?;
        let decode = |bytes: Vec<u8>| Kept::decode_all(&mut &bytes[..]);
        bytes.map(decode).transpose().map_err(io::Error::other)
    }

    /// Keeps what was found, unless something was before: whoever commits twice is found out. When this
    /// returns it is on disk.
    pub fn keep(&self, subject: Subject, finding: Finding, salt: [u8; 32]) -> io::Result<()> {
        let path = self.path(subject);
        if path.exists() {
            return Ok(());
        }
        write_whole(&self.0, &path, &(finding, salt).encode())
    }

    /// Removes what is about anything else and was found so long ago.
    pub fn keep_only(&self, subjects: &[Subject], age: Duration) -> io::Result<()> {
        let wanted: Vec<PathBuf> = subjects.iter().map(|one| self.path(*one)).collect();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let (path, found) = (entry.path(), entry.metadata()?.modified()?);
            // A clock that was set back makes it no older than it is.
            let is_old = found.elapsed().is_ok_and(|since| since >= age);
            if is_old && !wanted.contains(&path) {
                if_there(fs::remove_file(path))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_primitives::audit::Verdict;

    #[test]
    fn the_first_finding_stays_until_its_audit_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let findings = Findings::open(&folder.path().join("deep/findings")).unwrap();
        let subject = |session| Subject { session, node: 3 };
        let finding = |verdict| Finding {
            verdict,
            head: [1; 32],
            projection: [2; 32],
        };
        assert_eq!(findings.read(subject(1)).unwrap(), None);
        findings
            .keep(subject(1), finding(Verdict::Pass), [7; 32])
            .unwrap();
        findings
            .keep(subject(1), finding(Verdict::Fail), [8; 32])
            .unwrap();
        findings
            .keep(subject(2), finding(Verdict::Fail), [9; 32])
            .unwrap();
        let kept = Some((finding(Verdict::Pass), [7; 32]));
        assert_eq!(findings.read(subject(1)).unwrap(), kept);
        // Younger than that: a chain that goes back may want it again.
        let hour = Duration::from_secs(3_600);
        findings.keep_only(&[], hour).unwrap();
        assert_eq!(findings.read(subject(1)).unwrap(), kept);
        findings.keep_only(&[subject(1)], Duration::ZERO).unwrap();
        assert_eq!(findings.read(subject(1)).unwrap(), kept);
        assert_eq!(findings.read(subject(2)).unwrap(), None);
        // Bytes that are no finding are told from none.
        fs::write(findings.path(subject(1)), b"?").unwrap();
        assert!(findings.read(subject(1)).is_err());
    }
}
