//! The rows of the catalogue. Those that an import names are constants.

use super::{Published, PublishedRecall};

const NOT_STATED: &str = "not stated";

/// gmberton/CosPlace, issue 35.
const NOT_MIT: &str =
    "not stated; the author says that the code's MIT does not cover them (CosPlace, issue 35)";

/// Not an open-source licence.
const DINOV3_LICENSE: &str = "DINOv3 License: copies need the agreement with them, papers an acknowledgement; military, \
                              nuclear and espionage uses, among others, are excluded";

const README: &str = "its repository's README";

const fn recall(dataset: &'static str, recall_at_1: f64) -> PublishedRecall {
    PublishedRecall { dataset, recall_at_1 }
}

/// A row with what most models share, to be completed.
const ROW: Published = Published {
    name: "",
    backbone: "",
    descriptors: &[],
    parameters_millions: None,
    image_size: "",
    paper: "",
    recall: &[],
    recall_source: "",
    milliseconds: None,
    code: "",
    file: "",
    source: "",
    code_license: "MIT",
    weights_license: NOT_STATED,
    importable: false,
    note: "",
};

pub(crate) const COSPLACE: Published = Published {
    name: "CosPlace",
    backbone: "ResNet-50",
    descriptors: &[32, 64, 128, 256, 512, 1024, 2048],
    parameters_millions: Some(27.7),
    image_size: "any; native, or shorter side 512",
    paper: "Berton, Masone and Caputo, CVPR 2022",
    code: "https://github.com/gmberton/CosPlace",
    file: "ResNet50_{dim}_cosplace.pth",
    source: "https://github.com/gmberton/CosPlace/releases/tag/v1.0",
    weights_license: NOT_MIT,
    importable: true,
    ..ROW
};

pub(crate) const EIGENPLACES: Published = Published {
    name: "EigenPlaces",
    descriptors: &[128, 256, 512, 1024, 2048],
    image_size: "any; native",
    paper: "Berton, Trivigno, Caputo and Masone, ICCV 2023",
    code: "https://github.com/gmberton/EigenPlaces",
    file: "ResNet50_{dim}_eigenplaces.pth",
    source: "https://github.com/gmberton/EigenPlaces/releases/tag/v1.0",
    ..COSPLACE
};

/// What a file of one of the two is whose name does not say which. Not listed.
pub(crate) const COSPLACE_OR_EIGENPLACES: Published = Published {
    name: "CosPlace or EigenPlaces",
    paper: "their networks are identical",
    code: "https://github.com/gmberton",
    ..COSPLACE
};

pub(crate) const MEGALOC: Published = Published {
    name: "MegaLoc",
    backbone: "DINOv2 ViT-B/14",
    descriptors: &[8448],
    parameters_millions: Some(228.6),
    image_size: "any, rounded to multiples of 14",
    paper: "Berton and Masone, 2025",
    milliseconds: Some(411.0),
    code: "https://github.com/gmberton/MegaLoc",
    file: "model.safetensors",
    source: "https://huggingface.co/gberton/MegaLoc",
    importable: true,
    ..ROW
};

pub(crate) const SALAD: Published = Published {
    name: "DINOv2-SALAD",
    backbone: "DINOv2 ViT-B/14",
    descriptors: &[8448],
    parameters_millions: Some(88.0),
    image_size: "322x322, bilinear",
    paper: "Izquierdo and Civera, CVPR 2024",
    recall: &[recall("MSLS val", 92.2), recall("MSLS challenge", 75.0), recall("Nordland", 76.0)],
    recall_source: README,
    milliseconds: Some(358.0),
    code: "https://github.com/serizba/salad",
    file: "dino_salad.ckpt",
    source: "https://github.com/serizba/salad/releases/tag/v1.0.0",
    code_license: "GPL-3.0",
    importable: true,
    ..ROW
};

pub(crate) const CLIQUE_MINING: Published = Published {
    name: "CliqueMining",
    paper: "Izquierdo and Civera, ECCV 2024",
    recall: &[],
    recall_source: "",
    code: "https://github.com/serizba/cliquemining",
    file: "cliquemining.ckpt",
    source: "Google Drive, linked by its repository",
    code_license: NOT_STATED,
    note: "the network is SALAD's",
    ..SALAD
};

/// What a file of SALAD's layout is that was saved with the state of a training run. Not listed.
pub(crate) const SALAD_RUN: Published = Published {
    name: "a training checkpoint of DINOv2-SALAD's layout, such as CliqueMining",
    ..CLIQUE_MINING
};

pub(crate) const BOQ: Published = Published {
    name: "BoQ",
    backbone: "DINOv2 ViT-B/14, no final norm",
    descriptors: &[12288],
    parameters_millions: Some(95.2),
    image_size: "322x322, bicubic",
    paper: "Ali-bey, Chaib-draa and Giguère, CVPR 2024",
    recall: &[
        recall("MSLS val", 93.8),
        recall("MSLS challenge", 79.0),
        recall("Pitts30k", 93.7),
        recall("Pitts250k", 96.6),
    ],
    recall_source: README,
    milliseconds: Some(393.0),
    code: "https://github.com/amaralibey/Bag-of-Queries",
    file: "dinov2_12288.pth",
    source: "https://github.com/amaralibey/Bag-of-Queries/releases/tag/v1.0",
    importable: true,
    ..ROW
};

pub(crate) const BOQ_RESNET: Published = Published {
    backbone: "ResNet-50 to layer3",
    descriptors: &[16384],
    parameters_millions: Some(23.8),
    image_size: "384x384, bicubic",
    recall: &[recall("MSLS val", 91.2), recall("Pitts30k", 92.4), recall("Pitts250k", 95.0)],
    milliseconds: None,
    file: "resnet50_16384.pth",
    ..BOQ
};

pub(crate) const MIXVPR: Published = Published {
    name: "MixVPR",
    backbone: "ResNet-50 to layer3",
    descriptors: &[128, 512, 4096],
    parameters_millions: Some(10.9),
    image_size: "exactly 320x320, bilinear",
    paper: "Ali-bey, Chaib-draa and Giguère, WACV 2023",
    recall: &[recall("MSLS val", 88.2), recall("Pitts30k", 91.6), recall("Pitts250k", 94.3)],
    recall_source: README,
    milliseconds: Some(56.0),
    code: "https://github.com/amaralibey/MixVPR",
    file: "resnet50_MixVPR_{dim}_channels({c})_rows({r}).ckpt",
    source: "Google Drive, linked by https://github.com/amaralibey/MixVPR",
    code_license: NOT_STATED,
    importable: true,
    ..ROW
};

pub(crate) const NETVLAD: Published = Published {
    name: "NetVLAD (hloc)",
    descriptors: &[4096],
    image_size: "any; native, longer side at most 1024",
    paper: "Arandjelović et al., CVPR 2016",
    code: "https://github.com/cvg/Hierarchical-Localization",
    file: "Pitts30K_struct.mat, TokyoTM_struct.mat (VGG16-NetVLAD-Pitts30K.mat, VGG16-NetVLAD-TokyoTM.mat)",
    source: "https://cvg-data.inf.ethz.ch/hloc/netvlad",
    code_license: "Apache-2.0 (hloc)",
    note: "with its whitening",
    ..PATCH_NETVLAD
};

pub(crate) const PATCH_NETVLAD: Published = Published {
    name: "Patch-NetVLAD",
    backbone: "VGG16 to conv5_3",
    descriptors: &[128, 512, 4096],
    parameters_millions: Some(149.0),
    image_size: "480x640, bilinear",
    paper: "Hausler et al., CVPR 2021",
    code: "https://github.com/QVPR/Patch-NetVLAD",
    file: "{mapillary,pitts}_WPCA{dim}.pth.tar",
    source: "https://huggingface.co/TobiasRobotics/Patch-NetVLAD",
    importable: true,
    note: "its whitened NetVLAD descriptor; its patches are not used",
    ..ROW
};

pub(crate) const DINOV2: Published = Published {
    name: "DINOv2",
    backbone: "ViT-S, B, L or g/14, with or without registers",
    descriptors: &[384, 768, 1024, 1536],
    parameters_millions: Some(1136.5),
    image_size: "any multiple of 14",
    paper: "Oquab et al., TMLR 2024",
    code: "https://github.com/facebookresearch/dinov2",
    file: "dinov2_vit{s,b,l,g}14_pretrain.pth, dinov2_vit{s,b,l,g}14_reg4_pretrain.pth",
    source: "https://github.com/facebookresearch/dinov2",
    code_license: "Apache-2.0",
    weights_license: "Apache-2.0",
    importable: true,
    note: "a backbone, not trained for places",
    ..ROW
};

pub(crate) const DINOV3: Published = Published {
    name: "DINOv3",
    backbone: "ViT-S, S+, B or L/16",
    descriptors: &[384, 768, 1024],
    parameters_millions: Some(303.1),
    image_size: "any multiple of 16; 256x256, bilinear",
    paper: "Siméoni et al., 2025",
    code: "https://github.com/facebookresearch/dinov3",
    file: "dinov3_vit{s,b,l}16_pretrain_lvd1689m-{hash}.pth, dinov3_vits16plus_pretrain_lvd1689m-{hash}.pth, \
           dinov3_vitl16_pretrain_sat493m-{hash}.pth; or a folder of config.json and model.safetensors",
    source: "https://github.com/facebookresearch/dinov3 or huggingface.co/facebook, both on request",
    code_license: DINOV3_LICENSE,
    weights_license: DINOV3_LICENSE,
    importable: true,
    note: "a backbone, not trained for places",
    ..ROW
};

pub(crate) const ANYLOC: Published = Published {
    name: "AnyLoc-VLAD-DINOv2",
    backbone: "DINOv2 ViT-g/14, values of block 31",
    descriptors: &[49152],
    parameters_millions: Some(1136.5),
    image_size: "longer side at most 1024, cut to multiples of 14",
    paper: "Keetha et al., RA-L 2024",
    code: "https://github.com/AnyLoc/AnyLoc",
    file: "dinov2_vitg14_pretrain.pth, with --vocabulary dinov2_vitg14_l31_value_c32_{domain}_c_centers.pt",
    source: "https://github.com/facebookresearch/dinov2 and https://github.com/AnyLoc/DINO/releases/tag/v1",
    code_license: "BSD-3-Clause",
    weights_license: "Apache-2.0 (DINOv2); the vocabularies': not stated apart from the code's",
    importable: true,
    note: "domains: indoor, urban, aerial, structured, unstructured, global; eight of the 40 blocks are not needed",
    ..ROW
};

pub(crate) const CRICAVPR: Published = Published {
    name: "CricaVPR",
    backbone: "DINOv2 ViT-B/14 with adapters",
    descriptors: &[10752],
    parameters_millions: Some(106.8),
    image_size: "exactly 224x224, bilinear",
    paper: "Lu et al., CVPR 2024",
    code: "https://github.com/Lu-Feng/CricaVPR",
    file: "CricaVPR.pth",
    source: "https://github.com/Lu-Feng/CricaVPR/releases/tag/v1.0",
    importable: true,
    note: "as at batch size 1: the published encoder mixes the images of a batch",
    ..ROW
};

pub(crate) const SELAVPR: Published = Published {
    name: "SelaVPR",
    backbone: "DINOv2 ViT-L/14 with adapters, with or without registers",
    descriptors: &[1024],
    parameters_millions: Some(357.4),
    image_size: "224x224, bilinear",
    paper: "Lu et al., ICLR 2024",
    recall: &[
        recall("MSLS val, its local features reranking", 90.8),
        recall("Nordland, likewise", 85.2),
        recall("Pitts30k, likewise, another file", 92.8),
    ],
    recall_source: README,
    code: "https://github.com/Lu-Feng/SelaVPR",
    file: "SelaVPR_msls.pth, SelaVPR_pitts30k.pth",
    source: "Google Drive, linked by https://github.com/Lu-Feng/SelaVPR",
    note: "its global descriptor; its local features are not used",
    ..CRICAVPR
};

pub(crate) const SELAVPR_PLUS: Published = Published {
    name: "SelaVPR++",
    backbone: "DINOv2 ViT-B or L/14 with side adapters",
    descriptors: &[2048, 4096],
    parameters_millions: Some(331.3),
    image_size: "322x322, bilinear",
    paper: "Lu et al., 2025",
    recall: &[recall("MSLS val", 94.3), recall("Pitts30k", 94.4), recall("Nordland", 97.0)],
    recall_source: README,
    code: "https://github.com/Lu-Feng/SelaVPRplusplus",
    file: "SelaVPRplusplus_{base,large}.pth, SelaVPRplusplus_{base,large}_rerank.pth",
    source: "https://huggingface.co/fenglu96/SelaVPRplusplus",
    note: "its float descriptor; its binary one is not used",
    ..CRICAVPR
};

/// Every known model.
pub const CATALOG: &[Published] = &[
    MEGALOC,
    SALAD,
    CLIQUE_MINING,
    BOQ,
    BOQ_RESNET,
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
    COSPLACE,
    Published {
        backbone: "ResNet-101",
        parameters_millions: Some(46.7),
        file: "ResNet101_{dim}_cosplace.pth",
        ..COSPLACE
    },
    Published {
        backbone: "ResNet-152",
        parameters_millions: None,
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
    EIGENPLACES,
    Published {
        backbone: "ResNet-101",
        parameters_millions: Some(46.7),
        file: "ResNet101_{dim}_eigenplaces.pth",
        ..EIGENPLACES
    },
    MIXVPR,
    NETVLAD,
    PATCH_NETVLAD,
    CRICAVPR,
    SELAVPR,
    SELAVPR_PLUS,
    ANYLOC,
    Published {
        name: "TransVPR",
        backbone: "a network of its own",
        descriptors: &[256],
        parameters_millions: Some(5.4),
        image_size: "480x640",
        paper: "Wang et al., CVPR 2022",
        code: "https://github.com/RuotongWANG/TransVPR-model-implementation",
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
        paper: "Zhu et al., CVPR 2023",
        recall: &[
            recall("MSLS val, reranked", 89.7),
            recall("MSLS challenge, reranked", 73.0),
            recall("Pitts30k, reranked", 88.4),
            recall("Tokyo 24/7, reranked", 72.7),
        ],
        recall_source: "its paper",
        code: "https://github.com/bytedance/R2Former",
        file: "CVPR23_DeitS_Rerank.pth",
        source: "https://github.com/bytedance/R2Former",
        code_license: "Apache-2.0",
        importable: true,
        note: "with local features and reranker",
        ..ROW
    },
    DINOV2,
    DINOV3,
];
