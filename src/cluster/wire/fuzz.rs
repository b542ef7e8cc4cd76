//! Any bytes, to any of the decoders. What they understand is written, and means the same when it is read again.

use bytes::Bytes;

use super::{
    super::message::{ClusterCommand, ClusterMessage},
    *,
};

/// Decodes the rest of the input by the decoder that its first byte selects.
pub(crate) fn decode_any(data: &[u8]) {
    let Some((decoder, data)) = data.split_first() else { return };
    let bytes = Bytes::copy_from_slice(data);
    match decoder % 10 {
        0 => again(classic::decode_broadcast("/", bytes), |out| classic::decode_broadcast("/", out), classic::encode),
        1 => {
            let read = |bytes| classic::decode_request("/", bytes).map(|request| request.message);
            again(read(bytes), read, classic::encode);
        }
        2 => again(classic::decode_response("/", bytes), |out| classic::decode_response("/", out), classic::encode),
        4 => again(sharded::decode("/", bytes), |out| sharded::decode("/", out), sharded::encode),
        5 => again(streams::decode("/", bytes), |out| streams::decode("/", out), streams::encode),
        6 => {
            if let Ok(postgres::Incoming::Message(message)) = postgres::decode("/", bytes) {
                let _ = postgres::encode(&message, postgres::PAYLOAD_THRESHOLD).expect("it came so");
            }
        }
        7 => {
            again(postgres::decode_attachment("/", bytes), |out| postgres::decode_attachment("/", out), streams::encode)
        }
        8 => {
            if let Ok(session) = streams::decode_session(&bytes) {
                let read =
                    streams::decode_session(streams::encode_session(&session).as_bytes()).expect("it is our own");
                assert_eq!(read.rooms, session.rooms);
            }
        }
        9 => {
            for message in nats::split_batch(&bytes).map_or_else(|_| Vec::new(), |(_, messages)| messages) {
                again(nats::decode_in_batch(message), nats::decode_in_batch, streams::encode);
            }
        }
        _ => entry(&bytes),
    }
}

/// Decodes the fields of an entry, which are separated by 0xff.
fn entry(bytes: &Bytes) {
    let fields: Vec<Bytes> = bytes.split(|byte| *byte == 0xff).map(|field| bytes.slice_ref(field)).collect();
    let read =
        |fields: &[Bytes]| streams::decode_entry([&b"uid"[..], b"nsp", b"type", b"data"].into_iter().zip(fields));
    let Ok(message) = read(&fields) else { return };
    if streams::goes_to_stream(&message) {
        let entry = streams::encode_entry(&message, false).expect("it came so");
        let fields = entry.fields().map(|(_, value)| Bytes::from(value));
        is_same(&read(&fields).expect("it is our own"), &message);
        streams::encode_entry(&message, true).expect("it came so");
    }
}

fn again(
    message: Result<ClusterMessage>,
    read: impl Fn(Bytes) -> Result<ClusterMessage>,
    write: impl Fn(&ClusterMessage, &mut Vec<u8>) -> Result<()>,
) {
    let Ok(mut message) = message else { return };
    // Only the requests of emitters lack it.
    message.sender.get_or_insert_with(|| EMITTER.into());
    let mut out = Vec::new();
    write(&message, &mut out).expect("it came so");
    match read(out.into()) {
        Ok(read) => is_same(&read, &message),
        // Bytes in JSON are nested one level deeper, and a number as a name may be infinite in msgpack.
        Err(error) => assert!(matches!(error, WireError::Payload(_)), "{error}"),
    }
}

fn is_same(read: &ClusterMessage, message: &ClusterMessage) {
    assert_eq!(read.namespace, message.namespace);
    assert_eq!(std::mem::discriminant(&read.command), std::mem::discriminant(&message.command));
    assert_eq!(read.command.request(), message.command.request());
    if let (ClusterCommand::Emit { options, event, .. }, ClusterCommand::Emit { options: same, event: expected, .. }) =
        (&read.command, &message.command)
    {
        assert_eq!((options, event.attachments()), (same, expected.attachments()));
        // A number may have been written in another way.
        if expected.json().starts_with("[\"") {
            assert_eq!(event.name(), expected.name());
        }
    }
}
