use super::*;
use crate::config::{MiningKind, Schedule};
use crate::run::MeasuredValidation;

const TOWN: &str = "[[data]]\nkind = \"town\"\nblocks = 2\nspacing = 12.0\n[places]\npositive_m = 14.0\n";
const VALIDATION: &str =
    "[validation]\nkind = \"photos\"\ndatabase = \"d.csv\"\nqueries = \"q.csv\"\nbest_by = 1\n";

/// A step of 2 s, an image of 0.1 s, 100 queries of 0.2 s and 200 references.
fn measured() -> Measured {
    let validation = MeasuredValidation { queries: 100, references: 200, database: 20.0, query: 0.2 };
    Measured { step: 2.0, image: 0.1, views: 30.0, validation: Some(validation) }
}

/// The configuration that ten minutes get.
fn sized(stage: Stage, text: &str) -> (Choices, Pool, Estimate) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run.toml");
    std::fs::write(&file, text).unwrap();
    let (config, given) = TrainConfig::read_with_keys(stage, &file, &[]).unwrap();
    let pool = Pool::of(&config, 0).unwrap();
    let mut choices = Choices::new(config, given);
    choices.before_timing(pool.len()).unwrap();
    let measured = match choices.config.validation {
        Some(_) => measured(),
        None => Measured { validation: None, ..measured() },
    };
    choices.size(&pool, &measured, 600.0).unwrap();
    choices.config.check().unwrap();
    let total = estimate(&choices.config, &pool, &measured).unwrap();
    (choices, pool, total)
}

#[test]
fn a_fine_tuning_is_sized_to_the_time() {
    let (choices, pool, total) = sized(Stage::Finetune, &format!("{TOWN}{VALIDATION}"));
    let config = &choices.config;
    assert!((480.0..=600.0).contains(&total.seconds()), "{total}");
    // 0.4 of the time for validations of 40 s: the start's and five.
    assert_eq!((config.schedule.epochs, total.validations.0), (5, 6));
    assert_eq!((config.mining.refresh as u64, total.mining.0), (config.schedule.steps * 8, 5));
    assert_eq!(config.mining.pool, pool.len().min(300));
    assert!((0.9..0.99).contains(&config.optimizer.ema_decay));
    // The built-in model's local features are those of an early block.
    assert_eq!((config.model.freeze_blocks, config.model.freeze_local_head), (6, true));
    assert_eq!((config.batch.size, config.batch.negatives, config.optimizer.lr), (8, 2, 5e-5));
}

#[test]
fn keys_of_the_file_stay() {
    let text = "[model]\nfreeze_blocks = 3\n[optimizer]\nema_decay = 0.5\n[mining]\npool = 7\nrefresh = 24\n\
                [schedule]\nsteps = 11\n";
    let (choices, _, total) = sized(Stage::Finetune, &format!("{text}{TOWN}{VALIDATION}max_queries = 9\n"));
    let config = &choices.config;
    assert_eq!((config.schedule.steps, config.model.freeze_blocks, config.mining.pool), (11, 3, 7));
    assert!(!config.model.freeze_local_head, "its block is trained");
    assert_eq!((config.optimizer.ema_decay, config.mining.refresh), (0.5, 24));
    assert_eq!(config.validation.as_ref().unwrap().max_queries, 9);
    assert!(config.schedule.epochs > 1 && (500.0..=600.0).contains(&total.seconds()), "{total}");
    assert_eq!(choices.chosen, ["schedule.epochs"]);
    let both = format!("[schedule]\nsteps = 500\nepochs = 3\n{TOWN}");
    let (choices, _, total) = sized(Stage::Finetune, &both);
    assert_eq!((choices.config.schedule.steps, choices.config.schedule.epochs), (500, 3));
    assert!(total.seconds() > 3000.0 && !choices.chosen.contains(&"schedule.steps"));
}

#[test]
fn stages_for_many_epochs_fit_few() {
    let (choices, _, total) = sized(Stage::Rerank, TOWN);
    let schedule = &choices.config.schedule;
    assert_eq!((schedule.epochs, schedule.kind, schedule.warmup), (2, Schedule::CosineSteps, 0.2));
    assert!((500.0..=600.0).contains(&total.seconds()), "{total}");
    assert_eq!((choices.config.mining.kind, choices.config.batch.size), (MiningKind::Global, 64));
    // Where a validation takes too long it gets fewer queries, and what is too much in any case is said.
    let slow = MeasuredValidation { queries: 5000, references: 200, database: 20.0, query: 0.2 };
    let file = format!("{TOWN}{VALIDATION}");
    let (choices, pool, _) = sized(Stage::Finetune, &file);
    let mut choices = Choices::new(choices.config, choices.given);
    let slow = Measured { validation: Some(slow), ..measured() };
    choices.size(&pool, &slow, 600.0).unwrap();
    assert_eq!(choices.config.validation.as_ref().unwrap().max_queries, 400);
    choices.size(&pool, &slow, 60.0).unwrap();
    let total = estimate(&choices.config, &pool, &slow).unwrap();
    let text = write::text(&choices, "a\nb.toml".as_ref(), 1.0, &pool, &slow, &total).unwrap();
    assert!(text.contains("more than 1 min") && text.contains("a b.toml"), "{text}");
}

#[test]
fn the_text_is_the_configuration() {
    let region = "[[data]]\nkind = \"photos\"\npath = \"/p.csv\"\nregion = { west_of = 0.5 }\nweight = 2.0\n";
    let pairs = "[[data]]\nkind = \"pairs\"\ndatabase = \"/d\"\nqueries = \"/q\"\npositives = \"/p.csv\"\npart = [0.0, 0.5]\n";
    let top = "name = \"x\"\nstart = \"/s.safetensors\"\n";
    let (_, pool, total) = sized(Stage::Joint, TOWN);
    for text in [format!("{top}{region}{pairs}{VALIDATION}part = [0.5, 1.0]\n"), format!("{top}{pairs}")] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run.toml");
        std::fs::write(&file, &text).unwrap();
        let (mut config, given) = TrainConfig::read_with_keys(Stage::Joint, &file, &[]).unwrap();
        config.schedule.steps = 17;
        config.optimizer.lr = 1.25e-7;
        let choices = Choices { config, given, chosen: vec!["schedule.steps"] };
        let written = write::text(&choices, &file, 10.0, &pool, &measured(), &total).unwrap();
        std::fs::write(&file, &written).unwrap();
        assert_eq!(TrainConfig::read(Stage::Joint, &file, &[]).unwrap(), choices.config, "{written}");
        assert!(
            written.starts_with("# Stage joint with the keys of ") && written.contains("A step takes 2.0 s")
        );
        let commented = written.lines().skip_while(|line| !line.is_empty());
        assert!(commented.filter(|line| line.contains(" = ")).count() > 80);
    }
}
