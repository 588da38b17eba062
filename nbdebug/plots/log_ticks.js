// Ticks of logarithmic axes. Bokeh's own are those of a linear axis below two decades.

/** Powers of ten; 1, 2 and 5 times those if they are few; evenly spaced values on a short axis. */
function roundTicks(low, high, most) {
  if (!(low > 0 && high > low && Number.isFinite(high))) return [];
  const [first, last] = [low, high].map((end) => Math.floor(Math.log10(end)));
  const every = Math.max(1, Math.ceil((last - first) / most));
  const found = [];
  for (const [stride, factors] of [[every, [1]], [1, [1, 2, 5]]]) {
    found.length = 0;
    for (let power = Math.ceil(first / stride) * stride; power <= last; power += stride) {
      found.push(...factors.map((factor) => Number(`${factor}e${power}`)));
    }
    const inside = found.filter((tick) => low <= tick && tick <= high);
    if (inside.length >= 3) return inside;
  }
  return evenTicks(low, high);
}

/** About four multiples of 1, 2 or 5 times a power of ten. */
function evenTicks(low, high) {
  const rough = (high - low) / 4;
  const power = Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => Number(`${factor}e${power}`)).find((one) => one >= rough * 0.7);
  const ticks = [];
  for (let count = Math.ceil(low / step); count * step <= high; count++) {
    ticks.push(Number((count * step).toPrecision(12)));
  }
  return [...new Set(ticks)];
}

/** Give the logarithmic axes of a document round ticks. */
function roundLogTicks(shown) {
  for (const model of shown.all_models) {
    if (model.type !== "LogTicker") continue;
    model.get_ticks_no_defaults = (low, high, _cross, most) =>
      ({ major: roundTicks(low, high, most), minor: [] });
  }
}
