// The normal distribution: the pad shows its plane in cells of equal probability.

/** Where the standard normal's distribution function is p: Acklam's rational approximation, error below 1.2e-9. */
export function quantile(p) {
  const a = [-39.69683028665, 220.9460984245, -275.9285104469, 138.3577518672, -30.66479806614, 2.506628277459];
  const b = [-54.47609879822, 161.5858368580, -155.6989798598, 66.80131188771, -13.28068155288];
  const c = [-0.00778489400243, -0.3223964580411, -2.400758277161, -2.549732539343, 4.374664141464, 2.938163982698];
  const d = [0.007784695709041, 0.3224671290700, 2.445134137142, 3.754408661907];
  const poly = (k, x) => k.reduce((sum, v) => sum * x + v, 0);
  if (p > 0.97575) return -quantile(1 - p);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return poly(c, q) / poly([...d, 1], q);
  }
  const q = p - 0.5, r = q * q;
  return (q * poly(a, r)) / poly([...b, 1], r);
}

/** The standard normal's distribution function at z, by bisection of its inverse: exact where the pad needs it. */
export function share(z) {
  let low = 1e-9, high = 1 - 1e-9;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (quantile(middle) < z) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** Draws of the standard normal by Box and Muller. */
export function draws(n) {
  const one = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  return Array.from({ length: n }, one);
}
