import { element, layers, state } from './state.js';
import { goToLayer, walk } from './controls.js';

// ---- Play: one channel after another, or in the overview one layer after another ----------------------------------------------

const PLAY_PACE = 700; // milliseconds that each is shown

let playTimer = null;

function playNext() {
  if (state.channel !== null) walk(1);
  else goToLayer((state.layer + 1) % layers.length);
}

export function stopPlaying() {
  clearInterval(playTimer);
  playTimer = null;
  element('play').setAttribute('aria-pressed', 'false');
}

export function togglePlaying() {
  if (playTimer !== null) return stopPlaying();
  playTimer = setInterval(playNext, PLAY_PACE);
  element('play').setAttribute('aria-pressed', 'true');
  return playNext();
}
