//! Photographs of any shape through the ways to look at them: the kernels against the model's own path, and what each
//! way sees.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

use burn::tensor::{Tensor, TensorData};
use r2former_data::image::{PhotoTags, Rgb8, jpeg_with_tags};
use r2former_engine::{
    Extractor, Framing, LoadedModel, NoProgress, Settings, View, extract_framed, extract_stream,
};
use r2former_model::import::{ImportOptions, import};
use r2former_model::{Device, R2Former};
use std::path::{Path, PathBuf};

/// A picture whose red is its column and whose green is its row, as shares of the whole.
fn picture(width: usize, height: usize) -> Rgb8 {
    let share = |i: usize, of: usize| (255 * i / of.max(2).saturating_sub(1)) as u8;
    let pixels =
        (0..height).flat_map(|y| (0..width).flat_map(move |x| [share(x, width), share(y, height), 90]));
    Rgb8 { width, height, pixels: pixels.collect() }
}

/// The fixture in the published format, and an extractor of it for images of 64 x 96.
fn extractor() -> (R2Former, Extractor) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden/tiny.pth");
    let imported = import(&path, &ImportOptions::default()).unwrap();
    let loaded = LoadedModel::of(&imported.config, &imported.tensors).unwrap();
    let settings = Settings { height: 64, width: 96, ..Settings::of(&imported.config) };
    let extractor = Extractor::new(loaded, settings, &Device::flex()).unwrap();
    let model = R2Former::from_tensors(extractor.config(), imported.tensors, &Device::flex()).unwrap();
    (model, extractor)
}

#[test]
fn sizes_are_those_of_the_way() {
    let (_, extractor) = extractor();
    let sizes = |width, height, framing| -> Vec<[usize; 2]> {
        let views = extractor.frame(&picture(width, height), framing).unwrap();
        assert!(views.iter().all(|view| view.values.len() == 3 * view.size[0] * view.size[1]));
        views.iter().map(|view| view.size).collect()
    };
    for (width, height, own) in
        [(96, 64, [64, 96]), (300, 200, [64, 96]), (90, 200, [144, 64]), (7, 7, [64, 64])]
    {
        assert_eq!(sizes(width, height, Framing::OwnShape), [own], "{width} x {height}");
        assert_eq!(sizes(width, height, Framing::Whole), [[64, 96]]);
        assert_eq!(sizes(width, height, Framing::CentralCrop), [[64, 96]]);
        assert_eq!(sizes(width, height, Framing::FiveCrops), [[64, 64]; 5]);
    }
    let thin = extractor.frame(&picture(900, 100), Framing::FiveCrops).unwrap_err().to_string();
    assert!(thin.contains("900 x 100") && thin.contains("hard_resize"), "{thin}");
    assert!(extractor.frame(&picture(900, 100), Framing::Whole).is_ok());
}

#[test]
fn crops_show_their_part() {
    let (_, extractor) = extractor();
    // Red and green at a view's upper left and lower right pixel, from 0 to 1.
    let corners = |view: &View| {
        let [height, width] = view.size;
        let input = &extractor.config().input;
        let value = |c: usize, at: usize| view.values[c * height * width + at] * input.std[c] + input.mean[c];
        [0, height * width - 1].map(|at| [value(0, at), value(1, at)].map(|v| (10.0 * v).round() / 10.0))
    };
    let wide = picture(400, 128);
    let of = |framing| extractor.frame(&wide, framing).unwrap().iter().map(corners).collect::<Vec<_>>();
    assert_eq!(of(Framing::OwnShape), [[[0.0, 0.0], [1.0, 1.0]]]);
    assert_eq!(of(Framing::CentralCrop), [[[0.3, 0.0], [0.7, 1.0]]]);
    let (left, right) = ([[0.0, 0.0], [0.3, 1.0]], [[0.7, 0.0], [1.0, 1.0]]);
    assert_eq!(of(Framing::FiveCrops), [left, right, left, right, [[0.3, 0.0], [0.7, 1.0]]]);
}

#[test]
fn kernels_and_model_agree_on_every_size() {
    let (model, extractor) = extractor();
    assert!(extractor.fused_backbone().is_some(), "the kernels are what is tested");
    let dir = tempfile::tempdir().unwrap();
    let paths = photographs(dir.path(), &[(300, 200), (90, 200), (64, 64), (250, 90), (96, 64)]);
    let files: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let framings = [Framing::OwnShape, Framing::FiveCrops, Framing::Whole];
    let config = extractor.config();
    let (row, step) = (config.local_row(), config.size_step());
    let kept = config.local.as_ref().map_or(0, |local| local.count);
    let mut seen = 0;
    // Sizes alternate, so that memory of one is used for another.
    extract_framed(&extractor, &files, &framings, &NoProgress, |i, features| {
        let features = features?;
        let views = extractor.frame_file(files[i], &framings)?;
        assert_eq!((features.len(), views.len()), (7, 7));
        for (features, view) in features.iter().zip(views) {
            let [height, width] = view.size;
            let input =
                Tensor::from_data(TensorData::new(view.values, [1, 3, height, width]), &Device::flex());
            let plain = model.extract(input)?;
            let global = plain.global.try_into_vec_as::<f32>().unwrap();
            let apart = features.global.iter().zip(&global).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-4, "{height} x {width}: {apart}");
            assert_eq!(features.local.len() / row, (height / step * (width / step)).min(kept));
        }
        seen += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, files.len());
    extract_stream(&extractor, &files, &NoProgress, |i, features| {
        assert_eq!(features?, extractor.extract_file(files[i])?);
        Ok(())
    })
    .unwrap();
}

/// Writes one photograph of each size (width, height).
fn photographs(dir: &Path, sizes: &[(usize, usize)]) -> Vec<PathBuf> {
    let write = |(width, height): &(usize, usize)| {
        let path = dir.join(format!("{width}x{height}.jpg"));
        let bytes = jpeg_with_tags(&picture(*width, *height), 90, &PhotoTags::default()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    };
    sizes.iter().map(write).collect()
}
