// The floor under a first load: a page of as many files and bytes as the app, which paints one post and does nothing
// else. What the app takes beyond it is its own; what both take is the browser's and the machine's.
import { serve } from "./serving.mjs";

/** Serves the floor for `files` modules of `bytes` in sum; returns its address and how to end it. */
export async function floor(files, bytes) {
  const filler = `/*${"a".repeat(Math.floor(bytes / files))}*/`;
  const modules = Array.from({ length: files }, (_, at) => `/${at}.js`);
  const preloads = modules.map((path) => `<link rel="modulepreload" href="${path}">`).join("");
  const page = `<!doctype html><html lang="en"><title>floor</title>${preloads}<main></main>
    <script type="module">
      ${modules.map((path) => `import "${path}";`).join("")}
      const post = document.createElement("article");
      post.textContent = "A post";
      document.querySelector("main").append(post);
    </script></html>`;
  const { port, close } = await serve((path) => (path === "/" ? ["text/html", page] : ["text/javascript", filler]));
  return { url: `http://127.0.0.1:${port}/`, close };
}
