// What stands on each family's page: the lecture's equation, and how this family does its part of it.
const r = String.raw;

/** By kind of sampling: the idea, and the main equations, each with a plain sentence. */
export const KINDS = {
  exact: {
    title: "One pixel after the other",
    families: "PixelRNN, PixelCNN and their kin",
    idea: `The probability of an image is the product of the probabilities of its pixels, each given all those before
      it. A network computes each factor. To draw an image, draw its first pixel, then the second given the first, and
      so on.`,
    equations: [
      [
        r`p_\theta(x)=\prod_{i=1}^{n}p_\theta(x_i\mid x_1,\dots,x_{i-1})`,
        "The chain rule: nothing is approximated. θ are the network's weights, n is the number of values.",
      ],
      [
        r`x_i\sim p_\theta(x_i\mid x_1,\dots,x_{i-1})`,
        "Sampling: the next value is drawn from the network's probabilities. This is what you do below, by hand.",
      ],
      [
        r`-\ln p_\theta(x)=-\sum_{i=1}^{n}\ln p_\theta(x_i\mid x_1,\dots,x_{i-1})`,
        "Training makes this small on the images: it is the negative log-likelihood, in nats.",
      ],
    ],
  },
  vae: {
    title: "From a few numbers to an image",
    families: "the variational autoencoder",
    idea: `Every image is thought to come from a few hidden numbers z, the latents. The decoder turns z into an image.
      The encoder guesses which z an image came from, for without it training would have to try all of them.`,
    equations: [
      [
        r`p_\theta(x)=\int p_\theta(z)\,p_\theta(x\mid z)\,d z`,
        "The probability of an image: over all latents that could have made it. This integral cannot be computed.",
      ],
      [
        r`\ln p_\theta(x)\ge\E_{z\sim q_\phi(z\mid x)}[\ln p_\theta(x\mid z)]
          -D_{\text{KL}}(q_\phi(z\mid x)\parallel p_\theta(z))`,
        `So training raises this bound. First part: the image must come back from its latents. Second part: the latents
          must look as if drawn from the prior.`,
      ],
      [
        r`z\sim\N(0,I),~x\sim p_\theta(x\mid z)`,
        "Sampling: draw the latents, then the image given them. This is what you do below.",
      ],
    ],
  },
  autoencoder: {
    title: "Squeeze, and restore",
    families: "the autoencoder",
    idea: `The encoder squeezes an image into a short code, the decoder restores it. What survives is what matters.
      There is no probability here, so there is nothing to draw from; the encoder can be used to begin a classifier
      with.`,
    equations: [
      [r`z=f(x),~\hat x=g(z)`, "The encoder f gives the code z, the decoder g gives the image back."],
      [
        r`\parallel x-\hat x\parallel^2`,
        "Training makes this small: the squared difference between an image and what comes back.",
      ],
    ],
  },
  gan: {
    title: "Two players",
    families: "the generative adversarial network",
    idea: `The generator G makes images from random numbers z. The discriminator D says how probably an image is real.
      D learns to tell them apart, G learns to fool D, in turns.`,
    equations: [
      [
        r`\min_{G}\,\max_{D}~\E_{x\sim\text{data}}[\ln D(x)]+\E_{z\sim p(z)}[\ln(1-D(G(z)))]`,
        "The game: D wants this large, G wants it small.",
      ],
      [
        r`\max_{G}~\E_{z\sim p(z)}[\ln D(G(z))]`,
        `In practice G climbs this instead: where its images are poor, the slope of the first form is flat and it would
          not learn.`,
      ],
    ],
  },
};

/** By family: how it computes its part, in one equation and one sentence. */
export const FAMILIES = {
  made: [
    r`h=g((M_1\odot W_1)x+b)`,
    `A dense network whose weights W are multiplied by masks M, so that no path leads to a pixel from itself or from a
      later one.`,
  ],
  pixelcnn: [
    r`y=(M\odot W)\ast x`,
    `A convolution ∗ whose filter W is masked: M is 0 for all pixels to the right and below. Trained on all pixels at
      once.`,
  ],
  "gated-pixelcnn": [
    r`y=\tanh(W_f\ast x)\odot\sigma(W_g\ast x)`,
    `Two stacks, one for the rows above and one for the row to the left, so that no pixel is overlooked; each output is
      let through by a gate σ.`,
  ],
  "patch-pixelcnn": [
    r`p(x)=\prod_{j}p(x_{\text{patch~}j}\mid x_{\text{earlier~patches}})`,
    "The same, patch by patch: the pixels of a small patch are drawn together, from one table of all combinations.",
  ],
  "pixelcnn++": [
    r`\sum_{k}\pi_k[\sigma(\frac{x_i+\frac{1}{2}-\mu_k}{s_k})-\sigma(\frac{x_i-\frac{1}{2}-\mu_k}{s_k})]`,
    "A few bell-shaped curves instead of 256 separate probabilities, so that neighbouring levels know of each other.",
  ],
  "row-lstm": [
    r`h_r=\text{LSTM}(h_{r-1}\ast K,\,x_{r-1})`,
    `A memory that goes from row r − 1 to row r; all pixels of a row are computed at once, each sees a triangle above
      it.`,
  ],
  "diagonal-bilstm": [
    r`h_d=\text{LSTM}(h_{d-1}\ast K,\,x_{d-1})`,
    "A memory that goes from diagonal to diagonal, once from each side: each pixel sees all that came before it.",
  ],
  "multi-scale-pixelrnn": [
    r`p(x)=p(x_{\text{coarse}})\,p(x_{\text{rest}}\mid x_{\text{coarse}})`,
    "A small image first, made of every second row and column; then the pixels in between, given the small one.",
  ],
  vae: [
    r`q_\phi(z\mid x)=\N(\mu_\phi(x),\,\sigma_\phi(x)^2)`,
    "Encoder and decoder each give a mean and a spread, and the value is drawn from there.",
  ],
  "ladder-vae": [
    r`p(x)=\int p(x\mid z_1)\,p(z_1\mid z_2)\,p(z_2)\,d z`,
    "Latents on several floors: the upper ones say what is to be seen, the lower ones where and how.",
  ],
  autoencoder: [r`z=f(x)`, "Only the code, with no noise: what the encoder of a VAE would be without its spread."],
  gan: [r`G:z\to x`, "One pass from noise to image; there is no likelihood to report."],
};
