import ms from 'ms';

const port: number = Number(process.env.PORT);
Bun.serve({ port, fetch: async () => new Response(`${ms(60_000)} ${await Bun.file('built.txt').text()}`) });
