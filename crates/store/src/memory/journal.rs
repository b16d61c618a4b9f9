//! What was written, in order, as one hash.

use std::fmt::{Debug, Write};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::Call;

#[derive(Debug, Default)]
pub(super) struct Journal(Sha256);

impl Journal {
    pub(super) fn record(&mut self, call: Call<'_>, now: Timestamp, arguments: &dyn Debug) {
        let Call { agent, replica, name } = call;
        writeln!(Text(&mut self.0), "{now} {agent} {replica} {name} {arguments:?}")
            .expect("a hash takes every text");
    }

    pub(super) fn hash(&self) -> String {
        hex::encode(self.0.clone().finalize())
    }
}

struct Text<'a>(&'a mut Sha256);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.update(text);
        Ok(())
    }
}
