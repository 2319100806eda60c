//! Length-prefixed frames: four bytes, big-endian, then that many. Both the ssh-agent protocol
//! (draft-ietf-sshm-ssh-agent, "Protocol Messages") and our control socket use them.

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

/// The largest frame taken from anybody, as in OpenSSH's own agent. CVE-2021-28041's neighbours: a 4 GiB length must not
/// become an allocation.
pub const FRAME_BYTES_MAX: u32 = 256 * 1024;

/// Reads one frame; `None` at a clean end. The bytes are wiped when dropped, since they may hold a token.
///
/// # Errors
/// `InvalidData` when the frame is empty or longer than [`FRAME_BYTES_MAX`], `UnexpectedEof` when it is cut short.
pub fn read(from: &mut impl Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut head = [0; 4];
    let mut got = 0;
    while let Some(rest) = head.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => got += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_be_bytes(head);
    if length == 0 || length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame length out of range"));
    }
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut body = Zeroizing::new(vec![0; length]);
    from.read_exact(&mut body)?;
    Ok(Some(body))
}

/// Writes one frame in one write.
///
/// # Errors
/// `InvalidInput` when the body is longer than [`FRAME_BYTES_MAX`]; else the stream's error.
pub fn write(to: &mut impl Write, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len())
        .ok()
        .filter(|length| *length <= FRAME_BYTES_MAX);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    let mut frame = Zeroizing::new(Vec::with_capacity(body.len() + 4));
    frame.extend(length.to_be_bytes());
    frame.extend(body);
    to.write_all(&frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_was_written() {
        let mut wire = Vec::new();
        write(&mut wire, b"hello").unwrap();
        let mut wire = wire.as_slice();
        assert_eq!(read(&mut wire).unwrap().unwrap().as_slice(), b"hello");
        assert!(read(&mut wire).unwrap().is_none());
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_allocated() {
        for head in [[0xff; 4], [0; 4], (FRAME_BYTES_MAX + 1).to_be_bytes()] {
            assert_eq!(
                read(&mut head.as_slice()).unwrap_err().kind(),
                io::ErrorKind::InvalidData
            );
        }
        assert_eq!(
            read(&mut [0, 0, 0, 9, 1].as_slice()).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
