//! Extended attributes behind the inode (`struct erofs_xattr_ibody_header`, `struct erofs_xattr_entry`).

use crate::WriteError;

/// An extended attribute by its full name, `security.capability`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Name with prefix.
    pub name: Vec<u8>,
    /// Any bytes, up to 65535.
    pub value: Vec<u8>,
}

const HEADER_BYTES: usize = 12;
/// `i_xattr_icount` has 16 bits and counts units of 4 bytes.
const MAX_BYTES: usize = HEADER_BYTES + 4 * (u16::MAX as usize - 1);
/// `XATTR_INDEX_*`; the two ACLs are whole names.
const PREFIXES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    let (index, rest) =
        PREFIXES.iter().find_map(|(prefix, index)| Some((*index, name.strip_prefix(*prefix)?)))?;
    let is_acl = matches!(index, 2 | 3);
    (is_acl == rest.is_empty() && rest.len() <= usize::from(u8::MAX) && !rest.contains(&0))
        .then_some((index, rest))
}

/// Whether EROFS can hold an attribute of this name: `user.*`, `trusted.*`, `security.*` and POSIX ACLs.
#[must_use]
pub fn is_storable(name: &[u8]) -> bool {
    split(name).is_some()
}

/// The bytes that follow the inode; empty without attributes.
pub(crate) fn encode(attributes: &[Attribute]) -> Result<Vec<u8>, WriteError> {
    if attributes.is_empty() {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; HEADER_BYTES];
    for attribute in attributes {
        let error = || WriteError::Attribute { name: attribute.name.clone() };
        let (index, rest) = split(&attribute.name).ok_or_else(error)?;
        let name_length = u8::try_from(rest.len()).map_err(|_| error())?;
        let value_length = u16::try_from(attribute.value.len()).map_err(|_| error())?;
        bytes.extend([name_length, index]);
        bytes.extend(value_length.to_le_bytes());
        bytes.extend(rest);
        bytes.extend(&attribute.value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        if bytes.len() > MAX_BYTES {
            return Err(WriteError::AttributesTooLarge { size_bytes: bytes.len() });
        }
    }
    Ok(bytes)
}

/// The attributes that [`encode`] wrote; `None` if the bytes are not of that form.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Attribute>> {
    let mut attributes = Vec::new();
    let mut rest = bytes.get(HEADER_BYTES..)?;
    while !rest.is_empty() {
        let [name_length, index, low, high] = *rest.first_chunk::<4>()?;
        let name_end = 4 + usize::from(name_length);
        let value_end = name_end + usize::from(u16::from_le_bytes([low, high]));
        let (prefix, _) = PREFIXES.iter().find(|(_, known)| *known == index)?;
        let name = [prefix, rest.get(4..name_end)?].concat();
        attributes.push(Attribute { name, value: rest.get(name_end..value_end)?.to_vec() });
        rest = rest.get(value_end.next_multiple_of(4)..)?;
    }
    Some(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_erofs_can_hold() {
        let long = [b"user.".as_slice(), &[b'x'; 255]].concat();
        let too_long = [b"user.".as_slice(), &[b'x'; 256]].concat();
        let cases: [(&[u8], bool); 10] = [
            (b"user.a", true),
            (b"user.", false),
            (b"user.a\0", false),
            (b"security.capability", true),
            (b"trusted.overlay.opaque", true),
            (b"system.posix_acl_access", true),
            (b"system.posix_acl_access.x", false),
            (b"system.nfs4_acl", false),
            (&long, true),
            (&too_long, false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_storable(name), expected, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn decodes_what_it_encodes() {
        let attribute = |name: &[u8], value: &[u8]| Attribute { name: name.to_vec(), value: value.to_vec() };
        let attributes = vec![
            attribute(b"user.a", b""),
            attribute(b"system.posix_acl_default", &[7; 41]),
            attribute(b"security.capability", &[0; 20]),
        ];
        assert_eq!(decode(&encode(&attributes).unwrap()), Some(attributes));
        let large = vec![attribute(b"user.a", &[0; 65_535]); 5];
        assert!(matches!(encode(&large), Err(WriteError::AttributesTooLarge { .. })));
        assert!(matches!(encode(&[attribute(b"user.a", &[0; 65_536])]), Err(WriteError::Attribute { .. })));
    }
}
