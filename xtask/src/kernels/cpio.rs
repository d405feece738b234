//! Archives in the format that the kernel unpacks at boot ("newc",
//! Documentation/driver-api/early-userspace/buffer-format.rst).

use std::io::{self, Write};

/// S_IFDIR and S_IFREG with their permissions (inode(7)).
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// An archive that is being written.
pub struct Archive<W: Write> {
    out: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    /// An empty one.
    pub fn new(out: W) -> Archive<W> {
        Archive { out, inode: 0 }
    }

    /// A directory; its parent must be there already.
    ///
    /// # Errors
    /// The output's.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY, 2, &[])
    }

    /// A file that everybody may read and run, in a directory that is there.
    ///
    /// # Errors
    /// The output's; a file of 4 GiB or more.
    pub fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.entry(path, PROGRAM, 1, content)
    }

    /// Ends it; the output.
    ///
    /// # Errors
    /// The output's.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry(TRAILER, 0, 1, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, links: u32, content: &[u8]) -> io::Result<()> {
        let path = path.trim_start_matches('/');
        let name_size = path.len() + 1;
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        self.inode += 1;
        let (user, group, time, device, checksum) = (0, 0, 0, 0, 0);
        let fields = [
            self.inode,
            mode,
            user,
            group,
            links,
            time,
            size,
            device,
            device,
            device,
            device,
            u32::try_from(name_size).map_err(io::Error::other)?,
            checksum,
        ];
        let mut head = String::from("070701");
        for field in fields {
            head += &format!("{field:08x}");
        }
        head += path;
        head.push('\0');
        self.out.write_all(head.as_bytes())?;
        self.pad(head.len())?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    /// Up to a multiple of four bytes.
    fn pad(&mut self, length: usize) -> io::Result<()> {
        let zeros = length.next_multiple_of(4) - length;
        self.out.write_all(&[0; 3][..zeros])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn archive() -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        archive.directory("/bin").expect("written");
        archive.file("/bin/a", b"12345").expect("written");
        archive.file("/bin/empty", b"").expect("written");
        archive.finish().expect("written")
    }

    #[test]
    fn every_part_begins_at_a_multiple_of_four() {
        let bytes = archive();
        assert_eq!(bytes.len() % 4, 0);
        let starts: Vec<usize> = bytes
            .windows(6)
            .enumerate()
            .filter(|(_, window)| *window == b"070701")
            .map(|(at, _)| at)
            .collect();
        assert_eq!(starts.len(), 4, "two files, a directory, the trailer");
        assert!(starts.iter().all(|at| at % 4 == 0), "{starts:?}");
        // Head 110 bytes, "bin" and its NUL: 114, padded to 116.
        assert_eq!(starts[1], 116);
        // "bin/a" and its NUL end at 116, where "12345" begins, padded to 8.
        assert_eq!(&bytes[116 + 116..116 + 124], b"12345\0\0\0");
    }

    /// Where the tool of that name is there: it must read the same.
    #[test]
    fn cpio_reads_it() {
        let Ok(mut cpio) = Command::new("cpio")
            .args(["--list", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
        else {
            eprintln!("LEFT OUT: a comparison with cpio, which is not installed");
            return;
        };
        let mut input = cpio.stdin.take().expect("piped");
        input.write_all(&archive()).expect("read");
        drop(input);
        let listed = cpio.wait_with_output().expect("ends");
        assert!(listed.status.success(), "{listed:?}");
        assert_eq!(
            String::from_utf8_lossy(&listed.stdout),
            "bin\nbin/a\nbin/empty\n"
        );
    }
}
