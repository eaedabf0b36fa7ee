// What scripts of a page find when they are loaded, where there is no browser.

/** Let a page have this header beside no layers. */
export function usePage(header) {
  const page = { kind: 'maps', views: ['error', 'a', 'b'], viewWords: {}, photo: [4, 4], values: 'float32', layers: [], ...header };
  /** @type {any} */ (globalThis).document = { getElementById: () => ({ textContent: JSON.stringify(page) }) };
}
