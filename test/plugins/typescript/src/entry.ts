export interface Happened { readonly id: string; readonly type: string; readonly data: { readonly deploy: number } }

export const entry = ({ type, data }: Happened): string => `${type} ${data.deploy}`;
