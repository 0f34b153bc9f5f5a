//! Vision transformers: DeiT (distilled), timm ViT, DINOv2 with and without registers, DINOv3.

use super::Tokens;
use crate::layers::{Adapter, Block, BlockConfig, Extras, Rope, Values, fit_position, rotary_angles};
use crate::weights::{Init, TensorReader, TensorWriter};
use crate::{AdapterConfig, ModelError, Precision, Result, VitConfig};
use burn::module::{Module, Param};
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

/// A pre-norm vision transformer that also returns the attention of its last block.
#[derive(Module, Debug)]
pub struct Vit {
    patch_embed: Linear,
    cls_token: Param<Tensor<3>>,
    dist_token: Option<Param<Tensor<3>>>,
    register_tokens: Option<Param<Tensor<3>>>,
    /// `None` with rotary positions.
    pos_embed: Option<Param<Tensor<3>>>,
    blocks: Vec<Block>,
    /// What takes the place of the last block if only its values are computed.
    values: Option<Values>,
    /// What facets of local features come from, once its block was released to kernels.
    facets: Option<Values>,
    /// Adapters beside MLPs, or on a path of their own.
    adapters: Vec<Adapter>,
    /// Adapters after attentions.
    serial: Vec<Adapter>,
    norm: Option<LayerNorm>,
    /// Blocks before local features are taken.
    local_layer: usize,
    #[module(skip)]
    config: VitConfig,
}

impl Vit {
    /// Builds the transformer from the tensors under `{name}.`, with timm's names and `register_tokens` for DINOv2's
    /// registers. `layer` is [`LocalConfig::layer`](crate::LocalConfig).
    pub fn load(
        reader: &mut TensorReader,
        name: &str,
        config: &VitConfig,
        precision: Precision,
        layer: Option<usize>,
    ) -> Self {
        let c = config;
        let block = BlockConfig {
            dim: c.dim,
            heads: c.heads,
            hidden: c.swiglu.unwrap_or(c.dim * c.mlp_ratio),
            gated: c.swiglu.is_some(),
            norm_eps: c.norm_eps,
            layer_scale: c.layer_scale,
            precision,
        };
        let mut adapters_at = |names: Vec<String>| -> Vec<Adapter> {
            let Some(adapters) = c.adapters else { return Vec::new() };
            let sizes = [c.dim, adapters.width()];
            let load = |name: String| Adapter::load(reader, &name, sizes, adapters.convolutions(), precision);
            names.into_iter().map(load).collect()
        };
        let [adapters, serial] = adapter_names(c, name).map(&mut adapters_at);
        let positions = c.class_tokens() + c.grid[0] * c.grid[1];
        let small = Init::Normal(0.02);
        Self {
            patch_embed: reader.linear_shaped(
                &format!("{name}.patch_embed.proj"),
                3 * c.patch * c.patch,
                c.dim,
                &[c.dim, 3, c.patch, c.patch],
            ),
            cls_token: reader.param(&format!("{name}.cls_token"), [1, 1, c.dim], small),
            dist_token: c
                .distilled
                .then(|| reader.param(&format!("{name}.dist_token"), [1, 1, c.dim], small)),
            register_tokens: (c.registers > 0)
                .then(|| reader.param(&format!("{name}.register_tokens"), [1, c.registers, c.dim], small)),
            pos_embed: c
                .rotary
                .is_empty()
                .then(|| reader.param(&format!("{name}.pos_embed"), [1, positions, c.dim], small)),
            blocks: (0..c.depth.saturating_sub(usize::from(c.values)))
                .map(|i| Block::load(reader, &format!("{name}.blocks.{i}"), &block))
                .collect(),
            values: c.values.then(|| {
                Values::load(reader, &format!("{name}.blocks.{}", c.depth.saturating_sub(1)), &block)
            }),
            facets: None,
            adapters,
            serial,
            norm: c.final_norm.then(|| reader.layer_norm(&format!("{name}.norm"), c.dim, c.norm_eps)),
            local_layer: c.local_layer(layer),
            config: c.clone(),
        }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        let c = &self.config;
        writer.linear_shaped(
            &format!("{name}.patch_embed.proj"),
            &self.patch_embed,
            &[c.dim, 3, c.patch, c.patch],
        );
        writer.tensor(&format!("{name}.cls_token"), self.cls_token.val());
        for (part, tokens) in [
            ("dist_token", &self.dist_token),
            ("register_tokens", &self.register_tokens),
            ("pos_embed", &self.pos_embed),
        ] {
            if let Some(tokens) = tokens {
                writer.tensor(&format!("{name}.{part}"), tokens.val());
            }
        }
        for (i, block) in self.blocks.iter().enumerate() {
            let name = format!("{name}.blocks.{i}");
            if writer.wants(&name) {
                block.save(writer, &name);
            }
        }
        for (names, adapters) in adapter_names(c, name).iter().zip([&self.adapters, &self.serial]) {
            for (name, adapter) in names.iter().zip(adapters) {
                adapter.save(writer, name);
            }
        }
        if let Some(values) = &self.values {
            values.save(writer, &format!("{name}.blocks.{}", c.depth.saturating_sub(1)));
        }
        if let Some(norm) = &self.norm {
            writer.layer_norm(&format!("{name}.norm"), norm);
        }
    }

    /// Frees the blocks from `first` on with their adapters, of which kernels hold a copy; with `facets` all but what facets of
    /// local features come from. Adapters on a path of their own are freed with the first block.
    pub(crate) fn release_blocks(&mut self, first: usize, facets: bool) {
        if facets && first <= self.local_layer && self.facets.is_none() {
            let block = self.blocks.get(self.local_layer);
            self.facets = block.map(Block::values).or_else(|| self.values.take());
        }
        self.blocks.truncate(first);
        if first < self.config.depth {
            self.values = None;
        }
        if self.side_from().is_none() || first == 0 {
            self.adapters.truncate(first);
            self.serial.truncate(first);
        }
    }

    /// The sizes.
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// Blocks before local features are taken.
    pub fn local_layer(&self) -> usize {
        self.local_layer
    }

    /// The first block that a path of adapters goes beside.
    fn side_from(&self) -> Option<usize> {
        match self.config.adapters {
            Some(AdapterConfig::Side { count, .. }) => Some(self.config.depth.saturating_sub(count)),
            _ => None,
        }
    }

    /// The angles of rotary positions for a grid of patches (rows, columns), `[tokens, head size / 2]`: value `i` of a head's
    /// first half is turned with value `i` of its second half. `None` for a transformer without them.
    pub fn rotary_angles(&self, grid: [usize; 2]) -> Option<Vec<f32>> {
        let periods = &self.config.rotary;
        (!periods.is_empty()).then(|| rotary_angles(periods, self.config.prefix_tokens(), grid))
    }

    /// The query, key or value (`part` 0, 1, 2) of tokens in the block after [`local_layer`](Self::local_layer), all heads,
    /// without any rotation of positions.
    ///
    /// # Shapes
    /// - tokens: `[batch, tokens, dim]`, as [`Tokens::local`] holds them
    /// - output: `[batch, tokens, dim]`
    pub fn facet(&self, tokens: Tensor<3>, part: usize) -> Tensor<3> {
        match (self.blocks.get(self.local_layer), self.facets.as_ref().or(self.values.as_ref())) {
            (Some(block), _) => block.facet(tokens, part),
            (None, Some(values)) => values.facet(tokens, part),
            (None, None) => tokens,
        }
    }

    /// Softmax over patches of the products of their queries with the key of CLS, all heads as one, in the block after
    /// [`local_layer`](Self::local_layer): `[batch, patches]`, detached.
    ///
    /// # Errors
    /// [`ModelError::Config`] for tokens without CLS.
    pub fn attention_to_cls_key(&self, tokens: &Tokens) -> Result<Tensor<2>> {
        let ([batch, count, dim], prefix) = (tokens.local.dims(), tokens.local_prefix);
        if prefix == 0 {
            return Err(ModelError::Config("tokens without CLS".into()));
        }
        let local = tokens.local.clone().detach();
        let key = self.facet(local.clone().narrow(1, 0, 1), 1);
        let queries = self.facet(local.narrow(1, prefix, count - prefix), 0);
        let scores = queries.matmul(key.swap_dims(1, 2)).mul_scalar((dim as f64).powf(-0.5));
        Ok(softmax(scores.reshape([batch, count - prefix]), 1).detach())
    }

    /// Computes the tokens of a batch of images.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, normalised
    ///
    /// # Errors
    /// [`ModelError::Input`] if a side is not a multiple of the patch, [`ModelError::Config`] after
    /// [`R2Former::release_blocks`](crate::R2Former::release_blocks).
    pub fn forward(&self, images: Tensor<4>) -> Result<Tokens> {
        let [_, _, height, width] = images.dims();
        let blocks = self.config.depth.saturating_sub(usize::from(self.config.values));
        if self.blocks.len() < blocks || self.config.values != self.values.is_some() {
            return Err(ModelError::Config("the blocks of this model were released to kernels".into()));
        }
        let mut x = self.embed(images)?;
        let prefix = self.config.prefix_tokens();
        let grid = [height, width].map(|side| side / self.config.patch);
        let rotary = &self.config.rotary;
        let rope = (!rotary.is_empty()).then(|| Rope::new(rotary, prefix, grid, &x.device()));
        let side_from = self.side_from();
        let extras = |index: usize| Extras {
            rope: rope.as_ref(),
            serial: self.serial.get(index),
            parallel: if side_from.is_none() { self.adapters.get(index) } else { None },
            grid,
        };
        // The path beside the blocks after it has passed one.
        let beside = |side: Option<Tensor<3>>, index: usize, out: &Tensor<3>| {
            let adapter = side_from.and_then(|from| self.adapters.get(index.checked_sub(from)?));
            match (side, adapter) {
                (Some(side), Some(adapter)) => Some(side.clone() + adapter.forward(side + out.clone(), grid)),
                (side, _) => side,
            }
        };
        let before = self.blocks.len().saturating_sub(usize::from(self.values.is_none()));
        let (mut local, mut side) = (None, None);
        for (index, block) in self.blocks.iter().take(before).enumerate() {
            if index == self.local_layer {
                local = Some(x.clone());
            }
            if Some(index) == side_from {
                side = Some(x.clone());
            }
            x = block.forward_with(x, &extras(index));
            side = beside(side, index, &x);
        }
        if Some(before) == side_from {
            side = Some(x.clone());
        }
        let rows = self.config.class_tokens();
        let (out, attention) = match (&self.values, self.blocks.last()) {
            (Some(values), _) => values.forward(x.clone(), rows, rope.as_ref()),
            (None, Some(last)) => last.forward_with_attention_and(x.clone(), rows, &extras(before)),
            (None, None) => {
                return Err(ModelError::Config("a vision transformer needs at least one block".into()));
            }
        };
        let out = beside(side, before, &out).unwrap_or(out);
        let patches = x.dims()[1] - prefix;
        Ok(Tokens {
            last: match &self.norm {
                Some(norm) => norm.forward(out),
                None => out,
            },
            last_prefix: prefix,
            grid,
            local: local.unwrap_or(x),
            local_prefix: prefix,
            attention: Some(attention.narrow(1, prefix, patches)),
        })
    }

    /// The input of the first block, `[batch, tokens, dim]`: prefix tokens, then embedded patches, with position
    /// embeddings.
    ///
    /// # Errors
    /// [`ModelError::Input`] if a side is not a multiple of the patch.
    pub fn embed(&self, images: Tensor<4>) -> Result<Tensor<3>> {
        let c = &self.config;
        let [batch, channels, height, width] = images.dims();
        let p = c.patch;
        if channels != 3 || height == 0 || width == 0 || height % p != 0 || width % p != 0 {
            return Err(ModelError::Input(format!(
                "images of shape [{batch}, {channels}, {height}, {width}]: needs 3 channels and sides that are multiples of {p}"
            )));
        }
        let [rows, columns] = [height / p, width / p];
        let patches = images.reshape([batch, 3, rows, p, columns, p]).permute([0, 2, 4, 1, 3, 5]).reshape([
            batch,
            rows * columns,
            3 * p * p,
        ]);
        let mut tokens = self.patch_embed.forward(patches);
        let mut prefix = vec![self.cls_token.val()];
        prefix.extend(self.dist_token.as_ref().map(|t| t.val()));
        let mut prefix = Tensor::cat(prefix, 1);
        if let Some(position) = &self.pos_embed {
            let (position, heads) = (position.val(), c.class_tokens());
            let cells = position.clone().narrow(1, heads, c.grid[0] * c.grid[1]);
            tokens = tokens + fit_position(cells, c.grid, [rows, columns], c.position);
            prefix = prefix + position.narrow(1, 0, heads);
        }
        let mut parts = vec![prefix];
        parts.extend(self.register_tokens.as_ref().map(|t| t.val()));
        let prefix = Tensor::cat(parts, 1).repeat_dim(0, batch);
        Ok(Tensor::cat(vec![prefix, tokens], 1))
    }
}

/// Names of the adapters beside MLPs or on a path of their own, and of those after attentions.
fn adapter_names(c: &VitConfig, name: &str) -> [Vec<String>; 2] {
    let each = |part: &str| (0..c.depth).map(|i| format!("{name}.blocks.{i}.{part}")).collect();
    match c.adapters {
        None => [Vec::new(), Vec::new()],
        Some(AdapterConfig::Linear { .. }) => [each("adapter2"), each("adapter1")],
        Some(AdapterConfig::Parallel { .. }) => [each("adapter"), Vec::new()],
        Some(AdapterConfig::Side { count, .. }) => {
            [(0..count).map(|i| format!("{name}.adapters.{i}")).collect(), Vec::new()]
        }
    }
}
