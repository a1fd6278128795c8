/** The slider that starts the stream again at a time within the last ten minutes. */

import { $, write } from "./dom.js";
import { clock, duration } from "./format.js";

/** @param {(ms: number|null) => void} onmove  where it stands; @param {(ms: number) => void} onreplay  start there */
export function replaySlider(onmove, onreplay) {
  const slider = $("replay");
  const at = () => Date.now() + Number(slider.value) * 1000;
  const isNow = () => Number(slider.value) === 0;
  const draw = () => {
    const text = isNow() ? "now" : `${duration(Number(slider.value) * 1000)} ago, ${clock(at())}`;
    write($("replay-at"), text);
    slider.setAttribute("aria-valuetext", text);
    $("replay-start").disabled = isNow();
    onmove(isNow() ? null : at());
  };
  const start = () => {
    if (isNow()) return;
    const from = at();
    slider.value = 0;
    draw();
    onreplay(from);
  };
  slider.addEventListener("input", draw);
  slider.addEventListener("keydown", (event) => event.key === "Enter" && start());
  $("replay-start").addEventListener("click", start);
  draw();
  return { draw };
}
