//! `kill -9` in mid-stream and in mid-push. Tasks reach their end, subscribers go on after the last
//! event they have and see each once, and no push notification is lost or overtaken.

mod receiver;
mod subscriber;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::sut::Sut;
use receiver::Receiver;
use subscriber::Subscriber;

const TASKS: usize = 16;
/// So many that no task is over by the last death, however late this process sees its events.
const PIECES: usize = 120;
/// Events after which the process dies, of all subscribers together.
const DEATHS: [usize; 3] = [TASKS * 10, TASKS * 25, TASKS * 40];
/// It only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test]
async fn killed_in_mid_stream_and_mid_push_nothing_is_lost() {
    scenarios::binary("tck-sut").expect("the programs build");
    tokio::time::timeout(PATIENCE, killed_and_killed_again()).await.unwrap().unwrap();
}

async fn killed_and_killed_again() -> anyhow::Result<()> {
    let mut sut = Sut::start().await?;
    let mut receiver = Receiver::start().await?;
    let mut subscribers = Vec::new();
    for number in 0..TASKS {
        let push = receiver.url();
        subscribers.push(Subscriber::send(&sut, number, PIECES, &push).await?);
    }
    for events in DEATHS {
        subscriber::wait_for(&mut subscribers, events).await;
        // What is in hand now is received and never acknowledged.
        receiver.hold().await;
        sut.kill().await?;
        receiver.let_go();
        sut.start_again().await?;
    }
    let (mut breaks, mut doubles) = (0, 0);
    for subscriber in subscribers {
        let stream = subscriber.until_end().await?;
        breaks += stream.breaks;
        let numbers = &stream.numbers;
        let expected: Vec<u64> = (numbers[0]..).take(numbers.len()).collect();
        assert_eq!(*numbers, expected, "each event once and in order");
        let task = sut.task(&stream.task_id).await?;
        assert_eq!(task["status"]["state"], "TASK_STATE_COMPLETED", "{task}");
        let pieces = task["artifacts"][0]["parts"].as_array().cloned().unwrap_or_default();
        let told: Vec<&str> = pieces.iter().filter_map(|part| part["text"].as_str()).collect();
        let counted: Vec<String> = (1..=PIECES).map(|piece| format!("{piece} ")).collect();
        assert_eq!(told, counted);
        assert_eq!(stream.pieces, counted, "streamed as they were made");
        let last = *numbers.last().unwrap_or(&0);
        let posted = receiver.until(&stream.task_id, last).await;
        let all: BTreeSet<u64> = posted.iter().copied().collect();
        assert_eq!(all, (1..=last).collect(), "every event of {} is posted", stream.task_id);
        doubles += posted.len() - all.len();
        let is_in_order =
            posted.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1);
        assert!(is_in_order, "doubles are allowed, gaps and returns are not: {posted:?}");
    }
    // Every death broke streams and kept a notification from being acknowledged.
    assert!(breaks >= DEATHS.len() && doubles >= DEATHS.len(), "{breaks} {doubles}");
    Ok(())
}
