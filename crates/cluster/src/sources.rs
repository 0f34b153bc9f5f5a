//! The folders and tables whose images are in an index: points of the collection of files.

use qdrant_client::qdrant::{Filter as Conditions, ScrollPoints};
use r2former_index::{Result, Source};

use crate::attachments::{KIND, file_point_id, point, put};
use crate::collection::Collection;
use crate::filters::keywords;
use crate::payload::{Payload, string, text};

/// The kind of these points.
const SOURCE: &str = "source";

/// Points in a message.
const PAGE: u32 = 1000;

impl Collection {
    pub(crate) fn sources(&self) -> Result<Vec<Source>> {
        let mut request = ScrollPoints {
            collection_name: self.address().files(),
            filter: Some(Conditions {
                must: vec![keywords(KIND, vec![SOURCE.into()])],
                ..Conditions::default()
            }),
            limit: Some(PAGE),
            with_payload: Some(true.into()),
            ..ScrollPoints::default()
        };
        let points = self.calls().block(|calls| async move {
            let mut points = Vec::new();
            loop {
                let page = calls.scroll(request.clone()).await?;
                points.extend(page.result);
                request.offset = page.next_page_offset;
                if request.offset.is_none() {
                    return Ok(points);
                }
            }
        })?;
        let source = |payload: &Payload| {
            Some(Source { label: string(payload, "label")?.into(), root: string(payload, "root")?.into() })
        };
        let mut sources = points
            .iter()
            .map(|point| {
                source(&point.payload).ok_or_else(|| self.damaged("the root of a label is unreadable"))
            })
            .collect::<Result<Vec<_>>>()?;
        sources.sort_by(|a, b| a.label.cmp(&b.label));
        Ok(sources)
    }

    /// Remembers sources; one of the same label is replaced.
    pub(crate) fn put_sources(&self, sources: &[Source]) -> Result<()> {
        let calls = self.calls();
        for some in sources.chunks(PAGE as usize) {
            // Of two of one label the last one counts, as in a folder.
            let mut points = std::collections::BTreeMap::new();
            for Source { label, root } in some {
                let payload = Payload::from([
                    (KIND.into(), text(SOURCE)),
                    ("label".into(), text(label)),
                    ("root".into(), text(root)),
                ]);
                let id = file_point_id(&format!("source/{label}"));
                points.insert(id, point(id, payload));
            }
            put(&calls, points.into_values().collect())?;
        }
        Ok(())
    }
}
