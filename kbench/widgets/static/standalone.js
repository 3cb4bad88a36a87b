// Follows the modules in a page without Jupyter: draws every placeholder from the JSON it names.
const bytes = ({ base64 }) => new DataView(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer);
for (const place of document.querySelectorAll("[data-kbench]")) {
  const values = JSON.parse(document.getElementById(place.dataset.kbench).textContent, (name, value) => (value?.base64 === undefined ? value : bytes(value)));
  draw[values.picture]({ model: { get: (name) => values[name], on() {}, off() {} }, el: place });
}
