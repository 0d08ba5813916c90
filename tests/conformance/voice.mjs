// A voice out of formulas: pulses of a glottis through the resonances of a vocal tract (formants), with
// hiss and pauses between, so that every machine hears the same. Frequencies of vowels: Peterson and
// Barney 1952, male speakers.
const vowels = {
  a: [730, 1090, 2440], e: [530, 1840, 2480], i: [270, 2290, 3010], o: [570, 840, 2410], u: [300, 870, 2240],
};
const bandwidths = [80, 100, 140];

// One resonance: a two-pole filter of unit gain at 0 Hz.
function resonance() {
  let y1 = 0, y2 = 0;
  return (x, frequency, bandwidth, rate) => {
    const r = Math.exp((-Math.PI * bandwidth) / rate);
    const b = 2 * r * Math.cos((2 * Math.PI * frequency) / rate), c = -r * r;
    const y = (1 - b - c) * x + b * y1 + c * y2;
    y2 = y1;
    y1 = y;
    return y;
  };
}

// Float32Array of samples in [-1, 1]. text: vowels, 's' for a hiss, ' ' for a pause; 150 ms each.
export function voice(rate, text) {
  const n = Math.round(0.15 * rate), out = new Float32Array(n * text.length);
  const filters = bandwidths.map(resonance);
  let phase = 0, noise = 1, hissed = 0;
  for (let i = 0; i < out.length; i++) {
    const sound = text[Math.floor(i / n)], within = (i % n) / n;
    const next = vowels[text[Math.floor(i / n) + 1]], formants = vowels[sound];
    noise = (Math.imul(noise, 1664525) + 1013904223) >>> 0;
    const hiss = noise / 2147483648 - 1;
    phase += (115 + 25 * Math.sin((7 * i) / rate)) / rate; // the pitch rises and falls
    phase -= Math.floor(phase);
    let x = formants ? (phase < 0.6 ? Math.sin((Math.PI * phase) / 0.6) ** 2 - 0.3 : -0.3) + 0.02 * hiss : 0;
    // A vowel glides into the next one during its last third.
    const glide = next ? Math.max(0, 3 * within - 2) : 0;
    filters.forEach((filter, k) => {
      const from = (formants ?? next ?? vowels.a)[k];
      const frequency = from + glide * ((next ?? vowels.a)[k] - from);
      x = filter(x, Math.min(frequency, 0.45 * rate), bandwidths[k], rate);
    });
    const edge = Math.min(1, 8 * within, 8 * (1 - within));
    out[i] = 0.25 * x + (sound === 's' ? 0.1 * edge * (hiss - hissed) : 0) + 0.0005 * hiss;
    hissed = hiss;
  }
  const peak = out.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  return out.map((v) => (0.7 * v) / peak);
}
