//! PNG: chunks up to IEND. Those of the still picture are kept; texts, times, further frames and unknown chunks are
//! not.

use super::essence::{Bytes, Essence, MAX_ICC_BYTES};
use crate::bounds::Bounds;
use crate::refused::Refused;

const SIGNATURE_BYTES: usize = 8;
const HEADER_BYTES: usize = 13;

pub(super) fn scan(bytes: &[u8], bounds: &Bounds) -> Result<Essence, Refused> {
    let mut rest = Bytes(bytes);
    let mut file = Vec::with_capacity(bytes.len());
    file.extend(rest.take(SIGNATURE_BYTES)?);
    let (mut size, mut exif, mut data) = (None, None, false);
    loop {
        let chunk = rest.0;
        let length = usize::try_from(u32::from_be_bytes(rest.array()?)).map_err(Refused::damaged)?;
        let name: [u8; 4] = rest.array()?;
        let body = rest.take(length)?;
        let _checksum = rest.take(4)?;
        let chunk = &chunk[..length + 12];
        if size.is_none() {
            if &name != b"IHDR" || length != HEADER_BYTES {
                return Err(Refused::damaged("the header is not the first of it"));
            }
            size = Some(header(body, bounds)?);
            file.extend(chunk);
            continue;
        }
        match &name {
            b"IDAT" => {
                data = true;
                file.extend(chunk);
            }
            b"PLTE" | b"tRNS" => file.extend(chunk),
            // Compressed: even a thousand times this size is acceptable.
            b"iCCP" if length <= MAX_ICC_BYTES => file.extend(chunk),
            b"eXIf" => exif = exif.or(Some(body)),
            b"IEND" => {
                file.extend(chunk);
                break;
            }
            _ => {}
        }
    }
    let Some(size) = size.filter(|_| data) else {
        return Err(Refused::damaged("there is no picture in it"));
    };
    Ok(Essence::still(file, size, exif))
}

fn header(body: &[u8], bounds: &Bounds) -> Result<(u32, u32), Refused> {
    let mut body = Bytes(body);
    let size = (u32::from_be_bytes(body.array()?), u32::from_be_bytes(body.array()?));
    bounds.check_size(size.0, size.1)?;
    Ok(size)
}
