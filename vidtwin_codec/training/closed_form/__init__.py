"""VidTwin weights in closed form: the network written down as a switching transform codec, no gradient involved.

A token's D channels are divided into rooms (:mod:`channels`), and every layer is set to do one thing:

    clip ─ patch embedding: principal components of its patches                                  (components, encoder)
         ─ block 0: mean over frames │ deviations from it │ a one-hot code of the frame          (encoder)
         ─ block 1: frame i collects two temporal DCT frequencies; every frame votes on kinds    (encoder, voting)
         ─ block 2: the votes are counted                                                        (voting)
         ─ block 3: frame i picks what slot i and dynamics i carry at this kind of place: detail
             │      of what stands still, or motion                                              (picking)
             ├─ row and column means ─────────────────────────────────────────────── dynamics x, y
             └─ Q-Former: slot i takes over from frame i ───────────────────────────── structure (structure)

    structure, dynamics ─ branch decoders: slot i becomes frame i of the token map               (latents)
         ─ block 0: a one-hot code of the frame; the switches are read off the latents           (decoder)
         ─ block 1: all frames learn them                                                        (decoder)
         ─ block 2: frame i puts its numbers where the components belong that they stand for     (placing)
         ─ block 3: inverse DCT: frame t sums all i with weights psi_f(i)(t)                     (decoder)
         ─ last linear: ridge regression on real footage                                         (readout)

What each slot carries, and where, is decided from footage (:mod:`plan`, :mod:`allocation`, :mod:`kinds`,
:mod:`seating`): detail where nothing moves, more motion the more there is.

How nonlinear layers do linear work:

- LayerNorm: large constants in a few channels (alternating in sign) dominate a token's norm, so dividing by it is
  nearly dividing by a constant; the modulation multiplies the constant back and silences these channels.
- Softmax: attention with equal scores is a mean; with scores log(1 + k·psi) over a one-hot code it is a sum with
  weights (1 + k·psi)/T, whose first part vanishes on deviations from the mean or is subtracted by another head.
- GELU: gelu(g + a) − gelu(g − a) is 2a where g is large and 0 where it is very negative: a gated linear map.
- Sine-cosine positions: the first feed-forward reads them off empty channels and subtracts them everywhere else.
"""

from vidtwin_codec.training.closed_form.build import Clips, transform_start

__all__ = ["Clips", "transform_start"]
