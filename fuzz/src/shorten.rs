//! Makes a failing case shorter: fewer bytes are fewer operations.

/// How many shorter cases are played.
const TRIES: u32 = 150;

/// The shortest bytes found that still fail.
pub(crate) fn shortest(mut bytes: Vec<u8>, survives: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut tries = 0;
    let mut piece = bytes.len() / 2;
    while piece > 0 && tries < TRIES {
        let mut at = 0;
        while at < bytes.len() && tries < TRIES {
            let mut shorter = bytes.clone();
            shorter.drain(at..(at + piece).min(bytes.len()));
            tries += 1;
            if survives(&shorter) {
                at += piece;
            } else {
                bytes = shorter;
            }
        }
        piece /= 2;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out() {
        let bytes: Vec<u8> = (0..32).collect();
        assert_eq!(shortest(bytes, |bytes| !(bytes.contains(&3) && bytes.contains(&20))), [3, 20]);
    }
}
