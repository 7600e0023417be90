/** What the router says itself: one page a status, for browsers and for terminals. Never carries anything of the request. */
export interface Page { readonly status: 401 | 404 | 502 | 503 | 504; /** of its file, where that is not the status */ readonly name?: string; readonly title: string; readonly text: string }

export const PAGES: readonly Page[] = [
  { status: 401, title: 'A password is needed', text: 'This app is only for those who have a user name and a password for it.' },
  { status: 404, title: 'No app lives here', text: 'This name points to this server, but no app has it. If it should, add it with domains:add.' },
  { status: 502, title: 'The app broke off', text: 'The app took the request and gave no usable answer. Its log says why.' },
  { status: 503, title: 'The app is not running', text: 'It has no web process that takes requests right now: it may be starting, stopped or crashed. Try again in a moment.' },
  { status: 503, name: 'maintenance', title: 'Under maintenance', text: 'This app is being worked on and will be back. Try again in a while.' },
  { status: 504, title: 'The app took too long', text: 'The app did not answer in time.' },
];

const escape = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

/** A whole HTML document, no outside resources, readable in light and dark. */
export function pageHtml(page: Page): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${escape(page.title)}</title>
<style>
:root { color-scheme: light dark }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; font: 1rem/1.5 system-ui, sans-serif }
main { max-width: 32rem; padding: 2rem }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25 }
p { margin: 0 }
p.status { margin-bottom: .5rem; font-variant-numeric: tabular-nums; opacity: .75 }
</style>
</head>
<body>
<main>
<p class="status">${page.status}</p>
<h1>${escape(page.title)}</h1>
<p>${escape(page.text)}</p>
</main>
</body>
</html>
`;
}

/** The same for terminals: two lines. */
export const pageText = (page: Page): string => `${page.status} ${page.title}\n${page.text}\n`;
