use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The number of characters of an id of a node in the id of a session.
const LENGTH: usize = 11;

/// The id of a node of the cluster.
///
/// [`ClusterNode::id`](crate::cluster::ClusterNode::id) is its hexadecimal form. The ids of the node's sessions begin with its base64
/// form, so that every node knows the owner of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId([u8; 8]);

impl NodeId {
    /// Parses the hexadecimal form.
    pub(crate) fn from_hex(id: &str) -> Option<Self> {
        let is_hex = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(id, 16).ok().filter(|_| is_hex).map(|id| Self(id.to_be_bytes()))
    }

    pub(super) fn to_hex(self) -> String {
        format!("{:016x}", u64::from_be_bytes(self.0))
    }

    pub(super) fn from_bytes(id: [u8; 8]) -> Self {
        Self(id)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// Returns the node that a session belongs to.
    pub(super) fn of_session(id: &str) -> Option<Self> {
        let (node, secret) = id.as_bytes().split_at_checked(LENGTH)?;
        // The decoder wants room for an estimate.
        let mut bytes = [0; 9];
        let length = URL_SAFE_NO_PAD.decode_slice(node, &mut bytes).ok()?;
        match (length, secret.is_empty()) {
            (8, false) => bytes[..8].try_into().ok().map(Self),
            _ => None,
        }
    }

    /// Returns the id of a session of this node.
    pub(super) fn session_id(self, secret: &str) -> String {
        let mut id = String::with_capacity(LENGTH + secret.len());
        URL_SAFE_NO_PAD.encode_string(self.0, &mut id);
        id.push_str(secret);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_session_names_its_node() {
        for hex in ["0000000000000000", "0123456789abcdef", "ffffffffffffffff", "fbefbefbefbefbef"] {
            let node = NodeId::from_hex(hex).unwrap();
            assert_eq!(node.to_hex(), hex);
            let id = node.session_id("lv_VI97HAXpY6yYWAAAB");
            assert_eq!(id.len(), 31);
            assert_eq!(NodeId::of_session(&id), Some(node));
            assert_eq!(NodeId::of_session(&node.session_id("")), None);
        }
    }

    #[test]
    fn other_texts_name_no_node() {
        for id in ["", "x", "AAAAAAAAAA", "AAAAAAAAAAB.", "AAAAAAAAAABx", "é€😀é€😀é€😀", "AAAAA=AAAAAAAAA"]
        {
            assert_eq!(NodeId::of_session(id), None, "{id}");
        }
        for hex in ["", "0123456789abcde", "0123456789abcdeg", "+123456789abcdef", "0123456789abcdef0"] {
            assert_eq!(NodeId::from_hex(hex), None, "{hex}");
        }
    }
}
