//! A file that is read at positions.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::WeightsError;

/// An open weights file. Reads go through the page cache at explicit offsets: a file that shrinks
/// while it is in use gives an error, where a memory map would kill the process.
#[derive(Debug)]
pub(crate) struct DataFile {
    path: PathBuf,
    file: File,
    len: u64,
}

impl DataFile {
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let failed = |source| WeightsError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            len,
        })
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buffer` from `offset` on.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), WeightsError> {
        self.read_exact_at(offset, buffer)
            .map_err(|source| WeightsError::Io {
                path: self.path.clone(),
                source,
            })
    }

    /// The `len` bytes from `offset` on. `len` is checked against the file before it is allocated.
    pub fn read_vec(&self, offset: u64, len: u64, what: &str) -> Result<Vec<u8>, WeightsError> {
        let end = offset.saturating_add(len);
        let size = usize::try_from(len).ok().filter(|_| end <= self.len);
        let mut buffer = vec![0; size.ok_or_else(|| self.truncated(what, end))?];
        self.read(offset, &mut buffer)?;
        Ok(buffer)
    }

    pub fn truncated(&self, what: impl Into<String>, end: u64) -> WeightsError {
        WeightsError::Truncated {
            path: self.path.clone(),
            what: what.into(),
            end,
            len: self.len,
        }
    }

    pub fn corrupt(&self, what: impl Into<String>) -> WeightsError {
        WeightsError::Corrupt {
            path: self.path.clone(),
            what: what.into(),
        }
    }

    pub fn unsupported(&self, what: impl Into<String>) -> WeightsError {
        WeightsError::Unsupported {
            path: self.path.clone(),
            what: what.into(),
        }
    }

    #[cfg(unix)]
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, offset)
    }

    #[cfg(windows)]
    fn read_exact_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> std::io::Result<()> {
        while !buffer.is_empty() {
            let read = std::os::windows::fs::FileExt::seek_read(&self.file, buffer, offset)?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            offset += read as u64;
            buffer = &mut buffer[read..];
        }
        Ok(())
    }
}
