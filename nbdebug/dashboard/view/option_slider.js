// Joined with bokeh_view.js, since anywidget loads a single module.

/** An option as a slider: its first value stands at the right end, the others from there to the
 *  left. What is dragged stays under the pointer while more values come. */
class OptionSlider {
  constructor(choice, place, send) {
    this.name = choice.name;
    this.send = send;
    this.options = [];
    this.told = null;
    this.label = node("label", "nbd-choice nbd-slide", choice.label);
    this.input = node("input", "");
    Object.assign(this.input, { type: "range", min: 0, step: 1 });
    this.input.setAttribute("aria-label", choice.label);
    this.output = node("output", "");
    this.input.addEventListener("input", () => this.onInput());
    this.input.addEventListener("change", () => this.pending && this.write(this.pending));
    // The arrows move the slider, and no cell of the notebook.
    this.input.addEventListener("keydown", (event) => event.stopPropagation());
    this.label.append(this.input, this.output);
    place.append(this.label);
  }
  get isConnected() {
    return this.input.isConnected;
  }
  write(choice) {
    this.pending = null;
    if (this.input.matches(":active")) {
      this.pending = choice;
      return;
    }
    this.options = [...choice.options].reverse();
    this.label.hidden = choice.options.length < 2;
    // An answer to what was chosen before the latest value.
    if (this.told !== null && this.told !== choice.value && Date.now() < this.until) {
      const place = this.options.findIndex(([value]) => value === this.told);
      if (place >= 0) return this.show(place);
    }
    this.told = null;
    this.show(this.options.findIndex(([value]) => value === choice.value));
  }
  show(place) {
    this.input.max = Math.max(this.options.length - 1, 1);
    this.input.value = Math.max(place, 0);
    this.say();
  }
  say() {
    const text = this.options[Number(this.input.value)]?.[1] ?? "";
    this.output.textContent = text;
    this.input.setAttribute("aria-valuetext", text);
  }
  onInput() {
    this.say();
    const option = this.options[Number(this.input.value)];
    if (!option) return;
    [this.told, this.until] = [option[0], Date.now() + 2000];
    // Ten times a second at most, the last one always.
    if (this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      if (this.told !== null) this.send({ kind: "choose", name: this.name, value: this.told });
    }, 100);
  }
}
