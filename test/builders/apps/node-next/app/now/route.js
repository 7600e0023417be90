export const dynamic = 'force-dynamic';
export function GET() { return Response.json({ env: process.env.NODE_ENV }); }
