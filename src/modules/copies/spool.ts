import { join } from 'node:path';

/** Where dumps lie on their way, one folder an operation; root's only. */
export const spoolRoot = (root: string): string => join(root, 'spool');
export const spoolName = (group: string, operation: number): string => `${group}.${operation}`;
export const spoolFolder = (root: string, group: string, operation: number): string => join(spoolRoot(root), spoolName(group, operation));
