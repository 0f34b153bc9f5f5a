//! Published models for place recognition: where their files are to be had, under which terms, and whether they can be
//! imported.
//!
//! ```
//! let mixvpr = r2former_model::catalog::CATALOG.iter().find(|model| model.name == "MixVPR").expect("is listed");
//! assert_eq!(mixvpr.descriptors, [128, 512, 4096]);
//! assert!(mixvpr.importable);
//! ```

use serde::Serialize;

/// A published model, or several of one kind that differ in the length of their descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Published {
    /// Name.
    pub name: &'static str,
    /// The network before the aggregation.
    pub backbone: &'static str,
    /// Published lengths of the global descriptor.
    pub descriptors: &'static [usize],
    /// Parameters in millions, of the model with the longest descriptor. `None` where it was not counted.
    pub parameters_millions: Option<f64>,
    /// Image size, height x width in pixels, and how it is resized.
    pub image_size: &'static str,
    /// Name of the file.
    pub file: &'static str,
    /// Where it is to be had.
    pub source: &'static str,
    /// Licence of the code with which it was published.
    pub code_license: &'static str,
    /// Licence of the weights, as far as it is stated apart from the code's.
    pub weights_license: &'static str,
    /// Whether `r2former model import` takes the file.
    pub importable: bool,
    /// What is missing or special.
    pub note: &'static str,
}

const NOT_STATED: &str = "not stated";

/// gmberton/CosPlace, issue 35.
const NOT_MIT: &str = "not stated; the author says that the code's MIT does not cover them";

/// A row with what most models share, to be completed.
const ROW: Published = Published {
    name: "",
    backbone: "",
    descriptors: &[],
    parameters_millions: None,
    image_size: "",
    file: "",
    source: "",
    code_license: "MIT",
    weights_license: NOT_STATED,
    importable: false,
    note: "",
};

const COSPLACE: Published = Published {
    name: "CosPlace",
    image_size: "any; native, or shorter side 512",
    source: "https://github.com/gmberton/CosPlace/releases/tag/v1.0",
    weights_license: NOT_MIT,
    importable: true,
    ..ROW
};

const EIGENPLACES: Published = Published {
    name: "EigenPlaces",
    image_size: "any; native",
    source: "https://github.com/gmberton/EigenPlaces/releases/tag/v1.0",
    ..COSPLACE
};

/// Every known model.
pub const CATALOG: &[Published] = &[
    Published {
        name: "MegaLoc",
        backbone: "DINOv2 ViT-B/14",
        descriptors: &[8448],
        parameters_millions: Some(228.6),
        image_size: "any, rounded to multiples of 14",
        file: "model.safetensors",
        source: "https://huggingface.co/gberton/MegaLoc",
        importable: true,
        ..ROW
    },
    Published {
        name: "DINOv2-SALAD",
        backbone: "DINOv2 ViT-B/14",
        descriptors: &[8448],
        parameters_millions: Some(88.0),
        image_size: "322x322, bilinear",
        file: "dino_salad.ckpt",
        source: "https://github.com/serizba/salad/releases/tag/v1.0.0",
        code_license: "GPL-3.0",
        importable: true,
        ..ROW
    },
    Published {
        name: "CliqueMining",
        backbone: "DINOv2 ViT-B/14",
        descriptors: &[8448],
        parameters_millions: Some(88.0),
        image_size: "322x322, bilinear",
        file: "cliquemining.ckpt",
        source: "Google Drive, linked by its repository",
        code_license: NOT_STATED,
        importable: true,
        note: "the network is SALAD's",
        ..ROW
    },
    Published {
        name: "BoQ",
        backbone: "DINOv2 ViT-B/14, no final norm",
        descriptors: &[12288],
        parameters_millions: Some(95.2),
        image_size: "322x322, bicubic",
        file: "dinov2_12288.pth",
        source: "https://github.com/amaralibey/Bag-of-Queries/releases/tag/v1.0",
        importable: true,
        ..ROW
    },
    Published {
        name: "BoQ",
        backbone: "ResNet-50 to layer3",
        descriptors: &[16384],
        parameters_millions: Some(23.8),
        image_size: "384x384, bicubic",
        file: "resnet50_16384.pth",
        source: "https://github.com/amaralibey/Bag-of-Queries/releases/tag/v1.0",
        note: "the aggregation over a ResNet is not imported yet",
        ..ROW
    },
    Published {
        backbone: "VGG16 to conv5_3",
        descriptors: &[64, 128, 256, 512],
        parameters_millions: Some(15.0),
        file: "VGG16_{dim}_cosplace.pth",
        ..COSPLACE
    },
    Published {
        backbone: "ResNet-18",
        descriptors: &[32, 64, 128, 256, 512],
        parameters_millions: Some(11.4),
        file: "ResNet18_{dim}_cosplace.pth",
        ..COSPLACE
    },
    Published {
        backbone: "ResNet-50",
        descriptors: &[32, 64, 128, 256, 512, 1024, 2048],
        parameters_millions: Some(27.7),
        file: "ResNet50_{dim}_cosplace.pth",
        ..COSPLACE
    },
    Published {
        backbone: "ResNet-101",
        descriptors: &[32, 64, 128, 256, 512, 1024, 2048],
        parameters_millions: Some(46.7),
        file: "ResNet101_{dim}_cosplace.pth",
        ..COSPLACE
    },
    Published {
        backbone: "ResNet-152",
        descriptors: &[32, 64, 128, 256, 512, 1024, 2048],
        file: "ResNet152_{dim}_cosplace.pth",
        ..COSPLACE
    },
    Published {
        backbone: "VGG16 to conv5_3",
        descriptors: &[512],
        parameters_millions: Some(15.0),
        file: "VGG16_512_eigenplaces.pth",
        ..EIGENPLACES
    },
    Published {
        backbone: "ResNet-18",
        descriptors: &[256, 512],
        parameters_millions: Some(11.4),
        file: "ResNet18_{dim}_eigenplaces.pth",
        ..EIGENPLACES
    },
    Published {
        backbone: "ResNet-50",
        descriptors: &[128, 256, 512, 1024, 2048],
        parameters_millions: Some(27.7),
        file: "ResNet50_{dim}_eigenplaces.pth",
        ..EIGENPLACES
    },
    Published {
        backbone: "ResNet-101",
        descriptors: &[128, 256, 512, 1024, 2048],
        parameters_millions: Some(46.7),
        file: "ResNet101_{dim}_eigenplaces.pth",
        ..EIGENPLACES
    },
    Published {
        name: "MixVPR",
        backbone: "ResNet-50 to layer3",
        descriptors: &[128, 512, 4096],
        parameters_millions: Some(10.9),
        image_size: "exactly 320x320, bilinear",
        file: "resnet50_MixVPR_{dim}_channels({c})_rows({r}).ckpt",
        source: "Google Drive, linked by https://github.com/amaralibey/MixVPR",
        code_license: NOT_STATED,
        importable: true,
        ..ROW
    },
    Published {
        name: "NetVLAD (hloc)",
        backbone: "VGG16 to conv5_3",
        descriptors: &[4096, 32768],
        parameters_millions: Some(149.0),
        image_size: "longer side at most 1024",
        file: "Pitts30K_struct.mat, TokyoTM_struct.mat",
        source: "linked by https://github.com/cvg/Hierarchical-Localization",
        code_license: "Apache-2.0 (hloc)",
        note: "a MATLAB file, which is not read yet",
        ..ROW
    },
    Published {
        name: "Patch-NetVLAD",
        backbone: "VGG16 to conv5_3",
        descriptors: &[128, 512, 4096],
        parameters_millions: Some(149.0),
        image_size: "480x640, bilinear",
        file: "{mapillary,pitts}_WPCA{dim}.pth.tar",
        source: "https://huggingface.co/TobiasRobotics/Patch-NetVLAD",
        importable: true,
        note: "its whitened NetVLAD descriptor; its patches are not used",
        ..ROW
    },
    Published {
        name: "CricaVPR",
        backbone: "DINOv2 ViT-B/14 with adapters",
        descriptors: &[10752],
        parameters_millions: Some(106.8),
        image_size: "exactly 224x224",
        file: "CricaVPR.pth",
        source: "https://github.com/Lu-Feng/CricaVPR/releases/tag/v1.0",
        note: "its adapters are missing here",
        ..ROW
    },
    Published {
        name: "SelaVPR",
        backbone: "DINOv2 ViT-L/14 with adapters",
        descriptors: &[1024],
        parameters_millions: Some(357.4),
        image_size: "exactly 224x224",
        file: "",
        source: "Google Drive, linked by https://github.com/Lu-Feng/SelaVPR",
        note: "its adapters and local branch are missing here",
        ..ROW
    },
    Published {
        name: "SelaVPR++",
        backbone: "DINOv2 ViT-B or L/14 with side adapters",
        descriptors: &[2048, 4096],
        parameters_millions: Some(108.0),
        image_size: "322x322",
        file: "",
        source: "https://huggingface.co/fenglu96/SelaVPRplusplus",
        note: "its adapters are missing here; parameters are those over ViT-B",
        ..ROW
    },
    Published {
        name: "AnyLoc",
        backbone: "DINOv2 ViT-g/14, values of block 31",
        descriptors: &[49152],
        parameters_millions: Some(1136.5),
        image_size: "longer side at most 1024, cut to multiples of 14",
        file: "dinov2_vitg14_l31_value_c32_{domain}_c_centers.pt",
        source: "https://github.com/AnyLoc/AnyLoc, with DINOv2's backbone",
        code_license: "BSD-3-Clause",
        note: "facets of a block are not taken here",
        ..ROW
    },
    Published {
        name: "TransVPR",
        backbone: "a network of its own",
        descriptors: &[256],
        parameters_millions: Some(5.4),
        image_size: "480x640",
        file: "",
        source: "https://github.com/RuotongWANG/TransVPR-model-implementation",
        code_license: NOT_STATED,
        note: "its network is missing here",
        ..ROW
    },
    Published {
        name: "R2Former",
        backbone: "DeiT-S",
        descriptors: &[256],
        image_size: "480x640, bilinear without antialiasing",
        file: "CVPR23_DeitS_Rerank.pth",
        source: "https://github.com/bytedance/R2Former",
        code_license: "Apache-2.0",
        importable: true,
        note: "with local features and reranker",
        ..ROW
    },
    Published {
        name: "DINOv2",
        backbone: "ViT-S, B or L/14, with or without registers",
        descriptors: &[384, 768, 1024],
        parameters_millions: Some(304.4),
        image_size: "any multiple of 14",
        file: "dinov2_vit{s,b,l}14_pretrain.pth, dinov2_vit{s,b,l}14_reg4_pretrain.pth",
        source: "https://github.com/facebookresearch/dinov2",
        code_license: "Apache-2.0",
        weights_license: "Apache-2.0",
        importable: true,
        note: "a backbone, not trained for places",
    },
    Published {
        name: "DINOv3",
        backbone: "ViT-S, S+, B or L/16",
        descriptors: &[384, 768, 1024],
        image_size: "any multiple of 16",
        file: "",
        source: "https://github.com/facebookresearch/dinov3, on request",
        code_license: "DINOv3 License",
        weights_license: "DINOv3 License",
        note: "rotary positions are missing here",
        ..ROW
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn rows_are_complete_and_differ() {
        let mut seen = BTreeSet::new();
        for row in CATALOG {
            let stated =
                [row.name, row.backbone, row.image_size, row.source, row.code_license, row.weights_license];
            assert!(stated.iter().all(|text| !text.is_empty()), "{row:?}");
            assert!(row.descriptors.is_sorted() && !row.descriptors.is_empty(), "{row:?}");
            assert!(!row.importable || !row.file.is_empty(), "{row:?}");
            assert!(row.importable || !row.note.is_empty(), "{row:?}: says what is missing");
            assert!(seen.insert((row.name, row.backbone)), "{row:?} is listed twice");
        }
    }
}
