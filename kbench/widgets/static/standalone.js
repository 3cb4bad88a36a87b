// Follows bisection.js in a page without Jupyter: draws every placeholder from the JSON it names.
for (const place of document.querySelectorAll("[data-kbench]")) {
  const values = JSON.parse(document.getElementById(place.dataset.kbench).textContent);
  render({ model: { get: (name) => values[name], on() {}, off() {} }, el: place });
}
