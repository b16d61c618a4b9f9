//! What a message id asks for. The prefixes and what they mean are those of the scenario files of
//! the official kit; `firebreak-count` is our own, for tests that interrupt a long task.

/// What the agent does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Completes, saying this.
    Complete(&'static str),
    /// Makes one artifact, then completes.
    Produce(Content),
    /// The same, saying before that it works.
    Stream(Content),
    /// Says that it works, makes an artifact in two pieces, completes.
    Chunks,
    /// Answers with a message and makes no task.
    Reply(&'static str),
    Ask,
    Reject,
    /// Says that it works, and completes after a while.
    Wait,
    /// Adds as many pieces to an artifact as the message's text says, one after another.
    Count,
}

/// The one part of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Text(&'static str),
    File,
    FileUrl,
    Data,
}

/// A prefix stands before every shorter one that it begins with.
const PREFIXES: [(&str, Behaviour); 17] = [
    ("tck-complete-task", Behaviour::Complete("Hello from TCK")),
    ("tck-artifact-text", Behaviour::Produce(Content::Text("Generated text content"))),
    ("tck-artifact-file-url", Behaviour::Produce(Content::FileUrl)),
    ("tck-artifact-file", Behaviour::Produce(Content::File)),
    ("tck-artifact-data", Behaviour::Produce(Content::Data)),
    ("tck-message-response", Behaviour::Reply("Direct message response")),
    ("tck-input-required", Behaviour::Ask),
    ("tck-reject-task", Behaviour::Reject),
    ("tck-stream-001", Behaviour::Stream(Content::Text("Stream hello from TCK"))),
    ("tck-stream-002", Behaviour::Complete("completed")),
    ("tck-stream-003", Behaviour::Stream(Content::Text("Stream task lifecycle"))),
    ("tck-stream-ordering-001", Behaviour::Stream(Content::Text("Ordered output"))),
    ("tck-stream-artifact-text", Behaviour::Stream(Content::Text("Streamed text content"))),
    ("tck-stream-artifact-file", Behaviour::Stream(Content::File)),
    ("tck-stream-artifact-chunked", Behaviour::Chunks),
    ("test-resubscribe-message-id", Behaviour::Wait),
    ("firebreak-count", Behaviour::Count),
];

impl Behaviour {
    /// What a message with this id asks for. Kits send many that they give no meaning to: those
    /// tasks complete.
    pub(crate) fn of(message_id: &str) -> Self {
        let known = PREFIXES.iter().find(|(prefix, _)| message_id.starts_with(prefix));
        known.map_or(Self::Complete("This message id has no behaviour of its own"), |(_, it)| *it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_prefix_wins_whatever_follows_it() {
        assert_eq!(Behaviour::of("tck-artifact-file-1"), Behaviour::Produce(Content::File));
        assert_eq!(Behaviour::of("tck-artifact-file-url-1"), Behaviour::Produce(Content::FileUrl));
        assert_eq!(Behaviour::of("tck-stream-artifact-chunked-1"), Behaviour::Chunks);
        assert!(matches!(Behaviour::of("0199a7c2"), Behaviour::Complete(_)));
    }

    #[test]
    fn no_prefix_hides_another() {
        for (index, (prefix, _)) in PREFIXES.iter().enumerate() {
            let first = PREFIXES.iter().position(|(other, _)| prefix.starts_with(other));
            assert_eq!(first, Some(index), "{prefix}");
        }
    }
}
