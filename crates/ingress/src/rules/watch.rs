//! Takes up changed files without a restart. A file that makes no sense is told once, in the log and
//! as a metric that stays up until the file is good again; until then it counts as it was.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use service::Process;

use super::Rules;
use super::watched::Look;

/// Between two looks at the files.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FileLabel {
    file: String,
}

type Refused = Family<FileLabel, Gauge>;

impl Rules {
    /// Looks at the files once a second until shutdown; without files, never.
    pub(crate) fn watch(self: &Arc<Self>, process: &Process) {
        if self.tables.is_empty() && self.dependencies.is_none() {
            return;
        }
        let refused = process.metrics().register(
            "rule_files_refused",
            "Whether the newest content of a file makes no sense, so that an older one counts",
            Refused::default(),
        );
        let rules = Arc::clone(self);
        process.look_again(LOOK_AGAIN, move || rules.look(&refused));
    }

    fn look(&self, refused: &Refused) {
        for table in &self.tables {
            tell(table.rows.path(), table.rows.look(), refused);
        }
        if let Some(dependencies) = &self.dependencies {
            tell(dependencies.path(), dependencies.look(), refused);
        }
    }
}

fn tell(path: &Path, look: Look, refused: &Refused) {
    let file = path.display().to_string();
    let is_refused = matches!(look, Look::Refused(_));
    match look {
        Look::Same => return,
        Look::Taken => tracing::info!(file, "rule file read again"),
        Look::Refused(error) => {
            let error = anyhow::Error::from(error);
            tracing::error!(
                file,
                error = format!("{error:#}"),
                "rule file is unusable; its last content counts"
            );
        }
    }
    refused.get_or_create_owned(&FileLabel { file }).set(i64::from(is_refused));
}
