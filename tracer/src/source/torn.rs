//! Input that breaks off within what packed it: gzip and zstd say so by an error, behind all that could be unpacked. It ends there, as a
//! file that was cut ends, and what was wrong is kept to be told.

use std::io::{self, BufRead, Read};
use std::sync::{Arc, OnceLock};

/// Why the input ended ahead of its end, once it did.
pub(super) type Fault = Arc<OnceLock<String>>;

/// See the module.
pub(super) struct Torn<R> {
    input: R,
    /// Something was read: else it is no file that broke off
    begun: bool,
    fault: Fault,
}

impl<R: BufRead> Torn<R> {
    pub(super) fn new(input: R) -> (Self, Fault) {
        let fault = Fault::default();
        (Self { input, begun: false, fault: Arc::clone(&fault) }, fault)
    }
}

/// The system's own errors are none of the file's.
fn is_of_the_file(error: &io::Error) -> bool {
    let again = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
    error.raw_os_error().is_none() && !again
}

impl<R: BufRead> BufRead for Torn<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.fault.get().is_some() {
            return Ok(&[]);
        }
        match self.input.fill_buf() {
            Ok(bytes) => {
                self.begun |= !bytes.is_empty();
                Ok(bytes)
            }
            Err(error) if self.begun && is_of_the_file(&error) => {
                self.fault.get_or_init(|| error.to_string());
                Ok(&[])
            }
            Err(error) => Err(error),
        }
    }

    fn consume(&mut self, amount: usize) {
        if self.fault.get().is_none() {
            self.input.consume(amount);
        }
    }
}

impl<R: BufRead> Read for Torn<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives some bytes, then these errors one after the other.
    struct Breaking(&'static [u8], Vec<io::Error>);

    impl Read for Breaking {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 if !self.1.is_empty() => Err(self.1.remove(0)),
                length => Ok(length),
            }
        }
    }

    fn read(
        bytes: &'static [u8],
        errors: Vec<io::Error>,
    ) -> (Result<Vec<u8>, io::ErrorKind>, Option<String>) {
        let (mut input, fault) = Torn::new(io::BufReader::new(Breaking(bytes, errors)));
        let mut read = Vec::new();
        let ended = input.read_to_end(&mut read).map_err(|error| error.kind());
        (ended.map(|_| read), fault.get().cloned())
    }

    #[test]
    fn what_breaks_off_ends_and_says_why() {
        let broken = io::Error::other("incomplete frame");
        let (read, fault) = read(b"some", vec![broken]);
        assert_eq!((read.unwrap(), fault.as_deref()), (b"some".to_vec(), Some("incomplete frame")));
    }

    #[test]
    fn what_cannot_be_begun_and_what_the_system_refuses_are_errors() {
        let eof = || io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(read(b"", vec![eof()]), (Err(io::ErrorKind::UnexpectedEof), None));
        let refused = io::Error::from_raw_os_error(rustix::io::Errno::ACCESS.raw_os_error());
        assert_eq!(read(b"some", vec![refused]), (Err(io::ErrorKind::PermissionDenied), None));
        let pending = io::Error::from(io::ErrorKind::WouldBlock);
        assert_eq!(read(b"some", vec![pending]), (Err(io::ErrorKind::WouldBlock), None));
    }
}
