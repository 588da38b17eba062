const ANSWER_MS = 2000;
const PULL_MS = 250;
const RETRY_MS = 5000;
const STILL_MS = 3000;
const HIDDEN_MS = 5000;

/**
 * The way to the kernel. After `hello` the kernel sends by itself. Some hosts do not carry what a
 * thread sends after its cell has ended: then the view pulls, and each pull is answered by the
 * handler of the message. The kernel probes now and then if the other way works. A page that has
 * been hidden for some seconds says `bye`, so that neither side works for it, and `hello` again
 * when it is seen; not where the viewer waits for a notification.
 */
class Link {
  constructor(view) {
    Object.assign(this, { view, pulling: false, pulled: 0, asked: null, heard: false, resting: false });
    this.see = () => this.onVisibility();
    document.addEventListener("visibilitychange", this.see);
    this.born = performance.now();
    this.timer = setInterval(() => this.check(), PULL_MS);
  }
  /** Ask for everything. */
  hello() {
    this.asked = performance.now();
    if (this.pulling) this.pull();
    else this.send({ kind: "hello", ...this.view.need });
  }
  pull() {
    this.pulled = performance.now();
    const hello = this.view.sequence === null;
    this.send({ kind: "pull", hello, ...(hello ? this.view.need : {}) });
  }
  onVisibility() {
    clearTimeout(this.hiding);
    if (document.hidden) {
      this.hiding = setTimeout(() => this.rest(), HIDDEN_MS);
    } else if (this.resting) {
      this.resting = false;
      this.hello();
    }
  }
  rest() {
    if (this.view.frame.bell.check.checked) return;
    this.resting = true;
    this.view.sequence = null;
    this.send({ kind: "bye" });
  }
  check() {
    if (this.resting) return;
    const now = performance.now();
    if (this.pulling) {
      // One at a time: a kernel that is busy must not find hundreds.
      if (!this.pulled || now - this.pulled > RETRY_MS) this.pull();
    } else if (this.view.sequence === null && now - this.asked > ANSWER_MS) {
      this.pulling = true;
      this.pull();
    }
    if (!this.heard && now - this.born > STILL_MS) this.view.still.showIn(this.view.frame);
  }
  receive(content) {
    if (!this.heard) this.view.still.end(this.view.frame);
    this.heard = true;
    if (content.kind === "pulled" && content.view === this.view.id) this.pulled = 0;
    if (content.kind !== "probe" || !this.pulling || this.resting) return;
    this.pulling = false;
    this.view.sequence = null;
    this.send({ kind: "push" });
    this.hello();
  }
  send(content) {
    // Without a kernel there is nothing to send to.
    try { this.view.send(content); } catch (error) { console.debug("nbdebug:", error); }
  }
  close() {
    clearInterval(this.timer);
    clearTimeout(this.hiding);
    document.removeEventListener("visibilitychange", this.see);
  }
}
