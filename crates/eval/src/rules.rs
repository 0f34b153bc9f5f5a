//! Ground truth of an evaluation: positives of each query, and which queries count.

use crate::breakdown;
use crate::protocol::Input;
use crate::ranking::city;
use crate::{EmptyQueries, EvalError, Grouping, Protocol, Result};
use r2former_data::Photo;
use r2former_data::dataset::{Dataset, GroundTruthRule};

/// How rankings are scored, whether they come from a model or a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// A reference within this many metres is a positive (inclusive).
    pub radius_m: f64,
    /// Its heading must also be within this many degrees of the query's; `None`: headings are ignored.
    pub heading_limit_deg: Option<f64>,
    /// Handling of queries without positives.
    pub empty_queries: EmptyQueries,
    /// Search all cities as one database, or each on its own.
    pub grouping: Grouping,
    /// Recall is also reported for each value of these tags of the queries, such as `condition`. Empty: by `city` if
    /// there are several.
    pub report_by: Vec<String>,
}

impl Default for Rules {
    /// 25 m, headings ignored, one database, every query counts, by city if there are several.
    fn default() -> Self {
        Self {
            radius_m: 25.0,
            heading_limit_deg: None,
            empty_queries: EmptyQueries::default(),
            grouping: Grouping::default(),
            report_by: Vec::new(),
        }
    }
}

/// The positives of a dataset under some rules.
pub(crate) struct RuledDataset {
    /// For each query of the dataset the database indices of its positives, ascending.
    positives: Vec<Vec<u32>>,
    /// Indices of the queries that count, ascending.
    pub(crate) counted: Vec<usize>,
}

impl RuledDataset {
    /// The photographs of the counted queries.
    pub(crate) fn photos<'a>(&self, dataset: &'a Dataset) -> Vec<&'a Photo> {
        self.counted.iter().map(|q| &dataset.queries[*q]).collect()
    }

    /// Positives of each counted query.
    pub(crate) fn positives(&self) -> Vec<&[u32]> {
        self.counted.iter().map(|q| self.positives[*q].as_slice()).collect()
    }
}

impl Rules {
    /// Finds each query's positives.
    ///
    /// # Errors
    /// [`EvalError::Request`]: a dataset without images or positions, no query that counts, a tag of
    /// [`Self::report_by`] that no query has. [`EvalError::Engine`]: a query without a position.
    pub(crate) fn apply(&self, dataset: &Dataset) -> Result<RuledDataset> {
        not_empty(dataset)?;
        if !dataset.has_ground_truth() {
            return Err(EvalError::Request(format!(
                "{}: has no positions, so nothing can be scored; --predictions FILE writes the rankings of its queries",
                dataset.name
            )));
        }
        let mut positives = dataset.ground_truth(self.radius_m, self.heading_limit_deg)?.positives;
        if self.grouping == Grouping::PerCity {
            for (query, positives) in dataset.queries.iter().zip(&mut positives) {
                positives.retain(|p| city(&dataset.database[*p as usize]) == city(query));
            }
        }
        let counted: Vec<usize> = (0..dataset.queries.len())
            .filter(|q| self.empty_queries == EmptyQueries::Fail || !positives[*q].is_empty())
            .collect();
        if counted.is_empty() {
            return Err(EvalError::Request(format!(
                "none of the {} queries has a positive under this protocol; check positions and --radius",
                dataset.queries.len()
            )));
        }
        let ruled = RuledDataset { positives, counted };
        breakdown::check(&self.report_by, &ruled.photos(dataset))?;
        Ok(ruled)
    }

    /// The protocol of an evaluation under these rules.
    pub(crate) fn protocol(&self, dataset: &Dataset, ruled: &RuledDataset, input: Option<Input>) -> Protocol {
        Protocol {
            dataset: dataset.name.clone(),
            positives: self.positives(dataset),
            radius_m: matches!(dataset.truth, GroundTruthRule::Positions).then_some(self.radius_m),
            heading_limit_deg: self.heading_limit_deg,
            cities: match self.grouping {
                Grouping::Merged => "one database of all cities".into(),
                Grouping::PerCity => "each city searched on its own".into(),
            },
            empty_queries: self.empty_queries,
            empty_query_count: ruled.positives.iter().filter(|p| p.is_empty()).count(),
            database: dataset.database.len(),
            queries: ruled.counted.len(),
            input,
            notes: dataset.notes.clone(),
        }
    }

    fn positives(&self, dataset: &Dataset) -> String {
        match (&dataset.truth, self.heading_limit_deg) {
            (GroundTruthRule::Listed(_), _) => "as listed by the dataset".into(),
            (GroundTruthRule::Positions, None) => format!("within {} m (inclusive)", self.radius_m),
            (GroundTruthRule::Positions, Some(limit)) => {
                format!("within {} m (inclusive) and {limit} degrees of heading", self.radius_m)
            }
        }
    }
}

/// Checks that both sides have images.
pub(crate) fn not_empty(dataset: &Dataset) -> Result<()> {
    if dataset.database.is_empty() || dataset.queries.is_empty() {
        return Err(EvalError::Request(format!(
            "{}: {} database images and {} queries; an evaluation needs both",
            dataset.name,
            dataset.database.len(),
            dataset.queries.len()
        )));
    }
    Ok(())
}
