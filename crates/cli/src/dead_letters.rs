//! Effects that were given up, from a terminal: seen, and replayed by name.

use serde_json::{Value, json};
use url::Url;

use crate::arguments::{DeadLetters, LetterAct};
use crate::show::{client, exchange, read_list, text};

pub(crate) async fn dead_letters(arguments: DeadLetters) -> anyhow::Result<()> {
    match arguments.act {
        None | Some(LetterAct::List) => list(&arguments.url).await,
        Some(LetterAct::Replay { id, by }) => replay(&arguments.url, id, &by).await,
    }
}

async fn list(url: &Url) -> anyhow::Result<()> {
    let letters = read_list(url, "/api/v1/dead-letters").await?;
    if letters.is_empty() {
        println!("no effect was given up");
    }
    for letter in &letters {
        println!("{}", line(letter));
    }
    Ok(())
}

fn line(letter: &Value) -> String {
    format!(
        "{:<6} {}  {}  {:<17} {}",
        letter["id"].as_i64().unwrap_or_default(),
        text(&letter["died_at"]),
        text(&letter["incident_id"]),
        text(&letter["kind"]),
        text(&letter["error"]),
    )
}

async fn replay(url: &Url, id: i64, by: &str) -> anyhow::Result<()> {
    let url = format!("{}/api/v1/dead-letters/{id}/replay", url.as_str().trim_end_matches('/'));
    exchange(client()?.post(&url).json(&json!({"by": by})), &url).await?;
    println!("{id} is performed again");
    Ok(())
}
