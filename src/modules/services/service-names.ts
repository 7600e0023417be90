import { randomBytes, randomInt } from 'node:crypto';

export const serviceStream = (id: string): string => `service-${id}`;
export const linksStream = (app: string): string => `links-${app}`;
/** A name belongs to one service of its type at a time. App names have no colon. */
export const serviceClaim = (type: string, name: string): string => `name-${type}:${name}`;

export const serviceNetwork = (instance: string, service: string): string => `${instance}-service-${service}`;
export const serviceVolume = (instance: string, service: string): string => `${instance}.service.${service}`;

/** Log of a service's containers. */
export const serviceLog = (service: string): string => `services/${service}`;

const ALPHABET = 'abcdefghijkmnpqrstuvwxyz23456789';
export const newServiceId = (): string => `s${Array.from({ length: 9 }, () => ALPHABET[randomInt(ALPHABET.length)]).join('')}`;
/** 128 bits; only letters and digits, so that no URL, shell or file has to escape it */
export const newPassword = (): string => randomBytes(16).toString('hex');
