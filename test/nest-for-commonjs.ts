/**
 * CommonJS packages that need Nest, which is an ES module: Node loads it for them, and Jest on Node
 * 20 cannot. Import this file, then the packages, with `await import`.
 */
import { jest } from '@jest/globals';
import * as common from '@nestjs/common';
import * as core from '@nestjs/core';
import * as unknownDependencies from '@nestjs/core/errors/exceptions/unknown-dependencies.exception.js';
import * as injector from '@nestjs/core/injector/injector.js';

jest.mock('@nestjs/common', () => common);
jest.mock('@nestjs/core', () => core);
jest.mock('@nestjs/core/injector/injector', () => injector);
jest.mock('@nestjs/core/errors/exceptions/unknown-dependencies.exception', () => unknownDependencies);
