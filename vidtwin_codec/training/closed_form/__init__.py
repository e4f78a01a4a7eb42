"""VidTwin weights in closed form: the network written down as a linear transform codec, no gradient involved.

A token's D channels are divided into rooms (:mod:`channels`), and every layer is set to do one linear thing:

    clip ─ patch embedding: principal components of its patches                                  (components, encoder)
         ─ block 0: mean over frames │ deviations from it │ a one-hot code of the frame          (encoder)
         ─ block 1: frame i collects temporal DCT frequency f(i), picks a few components of it   (encoder)
             ├─ row and column means ─────────────────────────────────────────────── dynamics x, y
             └─ Q-Former: slot i reads frequency f(i), picks a few other components ── structure (structure)

    structure, dynamics ─ branch decoders: slot i becomes frame i of the token map               (latents)
         ─ block 0: frame i puts its numbers where components f(i) belong, the code opening the gate (decoder)
         ─ block 1: inverse DCT: frame t sums all i with weights psi_f(i)(t)                     (decoder)
         ─ last linear: ridge regression on real footage                                         (readout)

What each slot carries is decided by :mod:`slots` from the footage's energy. How nonlinear layers do linear work:

- LayerNorm: large constants in a few channels (alternating in sign) dominate a token's norm, so dividing by it is
  nearly dividing by a constant; the modulation multiplies the constant back and silences these channels.
- Softmax: attention with equal scores is a mean; with scores log(1 + k·psi) over a one-hot code it is a sum with
  weights (1 + k·psi)/T, whose first part vanishes on deviations from the mean or is subtracted by another head.
- GELU: gelu(g + a) − gelu(g − a) is 2a where g is large and 0 where it is very negative: a gated linear map.
- Sine-cosine positions: signals live in the channels where those are flattest, and a mean over frames removes them.
"""

from vidtwin_codec.training.closed_form.build import Clips, transform_start

__all__ = ["Clips", "transform_start"]
