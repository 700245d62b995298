// The judging screen. All text is set by textContent: markup in an answer is shown and never run.
// Python (page.py) keeps the judgements. This file draws `screen`, sends what the judge does, and
// reports when Python does not answer.

const KEYS = { 1: "A", 2: "tie", 3: "B", a: "A", t: "tie", b: "B" };
const PATIENCE = 4000; // milliseconds until an answer without confirmation counts as not saved

function make(tag, classes, text) {
  const element = document.createElement(tag);
  if (classes) element.className = classes;
  if (text !== undefined) element.textContent = text;
  return element;
}

function render({ model, el }) {
  const root = make("div", "ctsm-judge");
  root.tabIndex = 0;
  root.dataset.lmSuppressShortcuts = "true"; // JupyterLab would take "a" and "b" for new cells
  el.append(root);

  let at = null; // the question that a key answers; the number of questions stands for "Next"
  let shown = null; // name of the item that is drawn
  let sent = 0; // number of the last message
  let moving = false; // between two items keys are ignored: they would answer the wrong item
  let pending = new Map(); // answers that are not confirmed yet, by message number
  let timer = null;

  const questions = () => model.get("questions");
  const screen = () => model.get("screen");

  function answers() {
    const all = { ...screen().answers };
    for (const { aspect, choice } of pending.values()) all[aspect] = choice;
    return all;
  }

  const complete = () => questions().every(([aspect]) => answers()[aspect]);

  function send(message) {
    sent += 1;
    if (message.do === "answer") pending.set(sent, message);
    else moving = true;
    clearTimeout(timer);
    timer = setTimeout(() => {
      moving = false;
      draw("lost");
    }, PATIENCE);
    try {
      model.send({ ...message, number: sent, item: screen().item });
    } catch (error) {
      console.warn(error); // the timer tells the judge
    }
  }

  function answer(question, choice) {
    if (moving || question >= questions().length) return;
    at = question + 1;
    send({ do: "answer", aspect: questions()[question][0], choice });
    draw();
  }

  function next() {
    if (!moving && complete()) send({ do: "next" });
  }

  function back() {
    if (moving) return;
    if (at > 0) {
      at -= 1;
      draw();
    } else send({ do: "back" });
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.repeat) return; // a key that is held down answers one question, not three
    const target = event.target;
    const field = target.closest?.("input, textarea, [contenteditable]");
    if (target !== root && !root.contains(target) && field) return;
    if (target.tagName === "BUTTON" && event.key === "Enter") return; // the button handles it
    const choice = KEYS[event.key.toLowerCase()];
    if (choice) answer(at, choice);
    else if (event.key === "Enter") next();
    else if (event.key === "Backspace") back();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function group([aspect, question], place) {
    const box = make("fieldset", place === at ? "now" : "");
    const legend = make("legend");
    const title = aspect[0].toUpperCase() + aspect.slice(1);
    legend.append(make("b", "", title), make("span", "", question));
    const choices = make("div", "choices");
    ["A", "tie", "B"].forEach((choice, key) => {
      const label = make("label");
      const radio = make("input");
      radio.type = "radio";
      radio.name = `${aspect}-${model.model_id ?? ""}`;
      radio.checked = answers()[aspect] === choice;
      radio.addEventListener("change", () => answer(place, choice));
      label.append(radio, make("span", "", choice), make("kbd", "", String(key + 1)));
      choices.append(label);
    });
    box.append(legend, choices);
    return box;
  }

  function draw(state) {
    const now = screen();
    if (shown !== now.item) {
      shown = now.item;
      const open = questions().findIndex(([aspect]) => !answers()[aspect]);
      at = open < 0 ? 0 : open;
    }
    const inside = root.contains(document.activeElement);

    const head = make("div", "head");
    const bar = make("progress");
    bar.max = now.total;
    bar.value = now.done;
    bar.setAttribute("aria-label", "items judged");
    head.append(make("span", "where", `Item ${now.position + 1} of ${now.total}`), bar);
    head.append(make("span", "who", `${now.done} judged by ${now.judge}`));

    const talk = make("div", "talk");
    now.turns.forEach((turn, place) => {
      const line = make("div", place % 2 ? "turn listener" : "turn speaker");
      line.append(make("b", "", place % 2 ? "Listener" : "Speaker"), make("p", "", turn));
      talk.append(line);
    });

    const pair = make("div", "pair");
    for (const [name, text] of [["A", now.a], ["B", now.b]]) {
      const card = make("div", "card");
      card.append(make("b", "", `Answer ${name}`), make("p", "", text));
      pair.append(card);
    }

    const asked = make("div", "questions");
    asked.append(...questions().map(group));

    const foot = make("div", "foot");
    const backward = make("button", "", "Back");
    const forward = make("button", at === questions().length ? "main now" : "main", "Next");
    backward.disabled = now.position === 0 && at === 0;
    forward.disabled = !complete() || now.position + 1 === now.total;
    backward.addEventListener("click", back);
    forward.addEventListener("click", next);
    let status = "";
    if (state === "lost") {
      status = "Not saved: the program behind this page does not answer. " +
        "Start it again and open its new address. All confirmed answers are kept.";
    } else if (now.error) status = now.error;
    else if (pending.size) status = "Saving ...";
    else if (now.done === now.total) {
      status = "Everything is judged and saved. Thank you! You can close this page.";
    } else if (now.saved) status = "Saved.";
    const line = make("span", state === "lost" || now.error ? "status bad" : "status", status);
    line.setAttribute("role", "status");
    foot.append(backward, forward, line);

    const help = make("p", "help");
    const keys = [["1", "A is better"], ["2", "tie"], ["3", "B is better"]];
    for (const [key, what] of [...keys, ["Enter", "next"], ["Backspace", "back"]]) {
      help.append(make("kbd", "", key), ` ${what}  `);
    }
    root.replaceChildren(head, talk, pair, asked, foot, help);
    if (inside) root.focus({ preventScroll: true });
  }

  function onScreen() {
    const confirmed = screen().number ?? 0;
    for (const number of [...pending.keys()]) {
      if (number <= confirmed) pending.delete(number);
    }
    if (confirmed >= sent) {
      moving = false;
      clearTimeout(timer);
    }
    if (screen().error) shown = null; // an answer that was not saved is asked again
    draw();
  }

  const page = model.get("whole_page");
  const listener = page ? document : root;
  listener.addEventListener("keydown", onKey);
  model.on("change:screen", onScreen);
  draw();
  return () => {
    clearTimeout(timer);
    listener.removeEventListener("keydown", onKey);
    model.off("change:screen", onScreen);
  };
}

export default { render };
