// Two small repairs for pages that are read without a network.
(function () {
  "use strict";
  // require.js takes modules from beside the page unless it is told where the book's own scripts lie.
  if (typeof window.require === "undefined") {
    const root = document.documentElement.dataset.content_root || "./";
    window.require = { baseUrl: new URL(root + "_static/vendor/", document.baseURI).href };
  }
  // Widgets typeset their labels through MathJax 2's queue, which MathJax 3 no longer has.
  document.addEventListener("DOMContentLoaded", function () {
    if (!window.MathJax || window.MathJax.Hub) return;
    window.MathJax.Hub = {
      Queue: function () {
        for (const call of arguments) {
          const element = Array.isArray(call) && call[2];
          if (!element) continue;
          window.MathJax.startup.promise.then(() => window.MathJax.typesetPromise([element]));
        }
      },
    };
  });
})();
